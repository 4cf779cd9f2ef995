//! Numbers with units: sizes and durations. A mistake says what was likely meant.

use std::ops::Range;
use std::time::Duration;

/// Why a word is no quantity, and how to write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub message: String,
    pub help: String,
    /// The word that was surely meant.
    pub fix: Option<String>,
    /// The bytes of the word that are wrong, where it is not all of it.
    pub part: Option<Range<usize>>,
}

impl Mistake {
    pub fn fixed(mut self, word: impl Into<String>) -> Self {
        self.fix = Some(word.into());
        self
    }

    pub fn at(mut self, part: Option<Range<usize>>) -> Self {
        self.part = part;
        self
    }

    fn new<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Self> {
        Err(Self { message: message.into(), help: help.into(), fix: None, part: None })
    }
}

const SIZE_UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("k", 1000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
];

/// A number's digits and what follows them.
fn split(word: &str) -> (&str, &str) {
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    word.split_at(end)
}

/// `digits` with an optional fraction, times `unit`, rounded down; exact in integers.
fn times(digits: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || fraction.len() > 9 || (fraction.is_empty() && digits.contains('.')) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let part: u128 = fraction.parse().ok()?;
    let part = part * u128::from(unit) / 10u128.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_add(u64::try_from(part).ok()?)
}

/// `64Mi` where it is a whole number of the largest unit that divides it, as one would write it.
pub fn written(bytes: u64) -> String {
    for (unit, factor) in [("Gi", 1u64 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// Bytes: `64Mi`, `1.5G`, `4096`.
pub fn size(word: &str) -> Result<u64, Mistake> {
    const FORMS: &str = "write a number with k, M, G (1000) or Ki, Mi, Gi (1024), such as `64Mi`";
    let (digits, unit) = split(word);
    if digits.is_empty() {
        return Mistake::new(format!("`{word}` is not a size"), FORMS);
    }
    if let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        return match times(digits, *factor) {
            Some(bytes) if bytes > i64::MAX as u64 => {
                Mistake::new(format!("`{word}` is more than a machine can have"), FORMS)
            }
            Some(bytes) if bytes < 4096 => {
                let help = match bytes {
                    0 => "write a size, such as `64Mi`, or remove the key".to_owned(),
                    _ => format!("that is {bytes} bytes; did you mean `{digits}Mi`?"),
                };
                Mistake::new(format!("`{word}` is less than 4Ki, the least that there is"), help)
            }
            Some(bytes) => Ok(bytes),
            None => Mistake::new(format!("`{word}` is not a size"), FORMS),
        };
    }
    let likely = match unit.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" | "ki" => "Ki",
        "m" | "mb" | "mib" | "mi" => "Mi",
        "g" | "gb" | "gib" | "gi" => "Gi",
        "b" => {
            return Mistake::new(
                format!("`{word}` has an unknown unit"),
                format!("write `{digits}` for bytes"),
            );
        }
        _ => return Mistake::new(format!("`{unit}` is not a unit of size"), FORMS),
    };
    let decimal = likely.trim_end_matches('i').replace('K', "k");
    let message = format!("`{}` is not a unit of size", unit.trim());
    if unit.trim().len() == 3 || SIZE_UNITS.iter().any(|(name, _)| *name == unit.trim()) {
        // `MiB` has one meaning, and so has what stands behind a space.
        let likely = if unit.trim().len() == 3 { likely } else { unit.trim() };
        return Mistake::new(message, format!("write `{digits}{likely}`"))
            .map_err(|mistake| mistake.fixed(format!("{digits}{likely}")));
    }
    let help = format!("write `{digits}{likely}` (1024) or `{digits}{decimal}` (1000)");
    Mistake::new(message, help)
}

const SPAN_UNITS: &[(&str, u64)] =
    &[("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];

/// `10 seconds` and the like, as it is written here.
fn meant_span(digits: &str, unit: &str) -> Option<String> {
    let unit = match unit.to_ascii_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => {
            return digits.parse::<u32>().ok()?.checked_mul(24).map(|hours| format!("{hours}h"));
        }
        _ => return None,
    };
    Some(format!("{digits}{unit}"))
}

/// A time span: `500ms`, `10s`, `1m30s`; units only from the long to the short.
pub fn duration(word: &str) -> Result<Duration, Mistake> {
    const FORMS: &str = "write a number with ms, s, m or h, such as `500ms`, `10s`, `1m30s`";
    let wrong = || Mistake {
        message: format!("`{word}` is not a duration"),
        help: FORMS.to_owned(),
        fix: None,
        part: None,
    };
    let (mut rest, mut nanos, mut last) = (word, 0u64, u64::MAX);
    if rest.is_empty() || rest.starts_with('-') {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (digits, after) = split(rest);
        if digits.is_empty() {
            return Err(wrong());
        }
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            return Mistake::new(
                format!("`{word}` needs a unit"),
                format!("for seconds write `{word}s`; there is also ms, m, h"),
            )
            .map_err(|mistake| mistake.fixed(format!("{word}s")));
        }
        let Some((_, factor)) = SPAN_UNITS.iter().find(|(name, _)| *name == unit) else {
            let message = format!("`{}` is not a unit of time", unit.trim());
            let Some(meant) = meant_span(digits, unit.trim()).filter(|_| rest == word) else {
                return Mistake::new(message, FORMS);
            };
            return Mistake::new(message, format!("write `{meant}`"))
                .map_err(|mistake| mistake.fixed(meant));
        };
        let value = times(digits, *factor).filter(|_| *factor < last).ok_or_else(wrong)?;
        nanos = nanos.checked_add(value).ok_or_else(wrong)?;
        (rest, last) = (after, *factor);
    }
    Ok(Duration::from_nanos(nanos))
}

/// The kernel's clocks end after 146 years, and this machine's have run a while.
const CLOCK_MOST: Duration = Duration::from_secs(145 * 365 * 86400);

/// How far a clock is ahead; may be negative; nanoseconds.
pub fn offset(word: &str) -> Result<i64, Mistake> {
    let (sign, span) = match word.strip_prefix('-') {
        Some(span) => (-1, span),
        None => (1, word),
    };
    let span = duration(span)
        .map_err(|mistake| Mistake { fix: mistake.fix.filter(|_| sign > 0), ..mistake })?;
    match i64::try_from(span.as_nanos()) {
        Ok(nanos) if span <= CLOCK_MOST => Ok(sign * nanos),
        _ => Mistake::new(
            format!("`{word}` is more than 145 years"),
            "write less: the kernel's clocks end after 146 years",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_clocks() {
        assert_eq!(offset("-1h"), Ok(-3_600_000_000_000));
        assert!(offset("1270000h").is_ok());
        assert!(offset("1300000h").is_err() && offset("-1300000h").is_err());
    }

    #[test]
    fn sizes() {
        for (word, bytes) in [
            ("64Mi", 64 << 20),
            ("1.5Gi", 3 << 29),
            ("10k", 10_000),
            ("0.1M", 100_000),
            ("4096", 4096),
        ] {
            assert_eq!(size(word), Ok(bytes), "{word}");
        }
        for (word, help) in [
            ("64m", "`64Mi`"),
            ("64MB", "`64Mi` (1024) or `64M`"),
            ("10K", "`10Ki` (1024) or `10k`"),
            ("64", "`64Mi`"),
            ("1.Mi", "such as"),
            ("Mi", "such as"),
            ("-5Mi", "such as"),
            ("99999999999Gi", "such as"),
            ("5 Mi", "`5Mi`"),
            ("5 G", "`5G`"),
            ("1 GB", "`1Gi` (1024) or `1G`"),
            ("5 MiB", "`5Mi`"),
            ("5 parsecs", "such as"),
            ("1e3", "such as"),
        ] {
            let mistake = size(word).unwrap_err();
            assert!(mistake.help.contains(help), "{word}: {mistake:?}");
        }
    }

    #[test]
    fn durations() {
        for (word, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            ("0s", 0),
            ("2h", 7_200_000),
        ] {
            assert_eq!(duration(word), Ok(Duration::from_millis(ms)), "{word}");
        }
        for word in ["10", "1s1m", "10sec", "-1s", "", "s", "1m30", "99999999999h", "1 s", "1..5s"]
        {
            assert!(duration(word).is_err(), "{word}");
        }
        for (word, meant) in [
            ("10", "10s"),
            ("10 sec", "10s"),
            ("5 minutes", "5m"),
            ("2d", "48h"),
            ("1 s", "1s"),
            ("3H", "3h"),
        ] {
            let mistake = duration(word).unwrap_err();
            assert_eq!(mistake.fix.as_deref(), Some(meant), "{word}: {mistake:?}");
            assert!(mistake.help.contains(&format!("`{meant}`")), "{word}: {mistake:?}");
        }
        assert!(duration("10 parsecs").unwrap_err().help.contains("such as"));
        assert_eq!(offset("-1h"), Ok(-3_600_000_000_000));
        assert_eq!(offset("1m30s"), Ok(90_000_000_000));
        for word in ["-", "--1s", "-1", "-1s-1m"] {
            assert!(offset(word).is_err(), "{word}");
        }
    }
}
