//! The page of every problem's code: docs/errors.md, which people read there too.

/// What `podspec explain` tells of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Page {
    pub code: &'static str,
    pub title: &'static str,
    /// Markdown: words, then a wrong and a right example as yaml.
    pub text: &'static str,
}

const TEXT: &str = include_str!("../../docs/errors.md");

/// Every page, by code.
pub fn all() -> impl Iterator<Item = Page> {
    TEXT.split("\n## ").skip(1).filter_map(|section| {
        let (head, text) = section.split_once('\n')?;
        let (code, title) = head.split_once(": ")?;
        Some(Page { code, title, text })
    })
}

pub fn find(code: &str) -> Option<Page> {
    all().find(|page| page.code == code)
}

impl Page {
    /// The example that begins with `# wrong` or `# right`.
    pub fn example(&self, kind: &str) -> Option<&'static str> {
        let blocks = self.text.split("```yaml\n").skip(1);
        blocks
            .filter_map(|block| block.split("\n```").next())
            .find(|block| block.strip_prefix("# ").is_some_and(|rest| rest.starts_with(kind)))
    }
}
