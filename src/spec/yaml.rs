//! YAML that podspec writes. Every writing of YAML goes through here.

use serde_json::Value;

/// A value in block style, ended by a line feed; what another reader could take for a number or a
/// boolean is in quotes.
pub fn text(value: &Value) -> String {
    let mut options = serde_yaml::SerializerOptions::default();
    options.compact_list_indent = false;
    serde_yaml::to_string_with_options(value, options).unwrap_or_default()
}
