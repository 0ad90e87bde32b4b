//! Values of the configuration: how each type reads from TOML and from the text of an environment variable or a flag,
//! and how it is written back. Knows no key by name.

use core::fmt;
use std::net::SocketAddr;

/// A value as a source gives it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    /// From the file.
    Toml(&'a toml::Value),
    /// From the environment or a flag: text without quotes; lists are separated by commas.
    Text(&'a str),
}

/// A type that a key may have.
pub(super) trait Setting: Sized {
    /// What a person should write instead.
    fn expected() -> String;

    /// Reads a value of the file; `None` when it is of another type or form.
    fn from_toml(value: &toml::Value) -> Option<Self>;

    /// Reads the text of an environment variable or a flag.
    fn from_text(text: &str) -> Option<Self>;

    /// Writes the value as the file would have it.
    fn to_toml(&self) -> toml::Value;

    /// The value as a number, for keys with bounds.
    fn number(&self) -> Option<u64> {
        None
    }

    /// Reads a value from either source; the error is one sentence that shows no secret.
    fn read(given: Given<'_>) -> Result<Self, String> {
        let value = match given {
            Given::Toml(value) => Self::from_toml(value),
            Given::Text(text) => Self::from_text(text),
        };
        value.ok_or_else(|| format!("expected {}", Self::expected()))
    }
}

macro_rules! whole_number {
    ($($number:ty)+) => {$(
        impl Setting for $number {
            fn expected() -> String {
                format!("a whole number from 0 to {}", Self::MAX)
            }

            fn from_toml(value: &toml::Value) -> Option<Self> {
                Self::try_from(value.as_integer()?).ok()
            }

            fn from_text(text: &str) -> Option<Self> {
                text.replace('_', "").parse().ok()
            }

            fn to_toml(&self) -> toml::Value {
                toml::Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
            }

            fn number(&self) -> Option<u64> {
                Some(u64::from(*self))
            }
        }
    )+};
}

whole_number!(u16 u32 u64);

impl Setting for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_bool()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Boolean(*self)
    }
}

impl Setting for String {
    fn expected() -> String {
        "a text in quotes".to_owned()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.clone())
    }
}

impl Setting for SocketAddr {
    fn expected() -> String {
        "an address and a port, such as \"127.0.0.1:8800\" or \"[::1]:8800\"".to_owned()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

/// An address, or none: the empty text.
impl Setting for Option<SocketAddr> {
    fn expected() -> String {
        "an address and a port, such as \"127.0.0.1:9001\", or \"\" for none".to_owned()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }

    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.map(|address| address.to_string()).unwrap_or_default())
    }
}

impl Setting for Vec<String> {
    fn expected() -> String {
        "a list of texts, such as [\"one\", \"two\"]".to_owned()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Array(self.iter().cloned().map(toml::Value::String).collect())
    }
}

/// A text that is never shown: not in a log, not in an error, not by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for whoever signs, verifies or compares.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True when no secret is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(…)" })
    }
}

impl Setting for Secret {
    fn expected() -> String {
        String::expected()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        String::from_toml(value).map(Self)
    }

    fn from_text(text: &str) -> Option<Self> {
        String::from_text(text).map(Self)
    }

    fn to_toml(&self) -> toml::Value {
        self.0.to_toml()
    }
}

impl Setting for Vec<Secret> {
    fn expected() -> String {
        Vec::<String>::expected()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        Vec::<String>::from_toml(value).map(|texts| texts.into_iter().map(Secret).collect())
    }

    fn from_text(text: &str) -> Option<Self> {
        Vec::<String>::from_text(text).map(|texts| texts.into_iter().map(Secret).collect())
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(Setting::to_toml).collect())
    }
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident: $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+; $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// As the configuration writes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl Setting for $name {
            fn expected() -> String {
        $expected.to_owned()
    }

            fn from_toml(value: &toml::Value) -> Option<Self> {
                Self::from_text(value.as_str()?)
            }

            fn from_text(text: &str) -> Option<Self> {
                [$(Self::$variant),+].into_iter().find(|choice| choice.name() == text)
            }

            fn to_toml(&self) -> toml::Value {
                toml::Value::String(self.name().to_owned())
            }
        }
    };
}

choice! {
    /// Where messages are kept.
    EngineKind:
    /// In memory: gone with the process.
    Memory = "memory",
    /// In the data directory of this node.
    Embedded = "embedded",
    /// In a FoundationDB cluster.
    Foundationdb = "foundationdb";
    "\"memory\", \"embedded\" or \"foundationdb\""
}

choice! {
    /// How much is logged: each level includes those before it.
    Level:
    /// What needs a person.
    Error = "error",
    /// What may need one.
    Warn = "warn",
    /// Start, stop, changes of state.
    Info = "info",
    /// Single connections too.
    Debug = "debug";
    "\"error\", \"warn\", \"info\" or \"debug\""
}

choice! {
    /// How a line of the log is written.
    Format:
    /// One JSON object a line.
    Json = "json",
    /// For people.
    Text = "text";
    "\"json\" or \"text\""
}
