//! What the application knows better than any catalog: its word is the last one.
//!
//! An override names a function or relation as SQL does, so that `Orders` and `orders` are one and
//! `"Orders"` is another. Without a schema it speaks of that name in every schema.

use alloc::string::String;
use alloc::vec::Vec;

use crate::statement::classify::names_in;

/// What the application knows better than the catalog.
///
/// ```
/// use lagwise_core::{Catalog, Overrides, Verdict, classify};
///
/// let mut overrides = Overrides::default();
/// overrides.reads("app.price")?;
/// overrides.writes("audit_view")?;
/// let catalog = Catalog::new([], &overrides);
/// assert_eq!(classify("select app.price(7)", &catalog).verdict, Verdict::Read);
/// assert_eq!(classify("table audit_view", &catalog).verdict, Verdict::Write);
/// # Ok::<(), lagwise_core::NameError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// In the order of name and schema.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    schema: Option<String>,
    writes: bool,
}

/// What the overrides say of one name in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) reads: bool,
    pub(super) writes: bool,
    entries: &'a [Entry],
}

impl Overrides {
    /// Whatever names this function or relation may go to a replica.
    ///
    /// # Errors
    /// If it is not a name, with or without a schema.
    pub fn reads(&mut self, name: &str) -> Result<(), NameError> {
        self.put(name, false)
    }

    /// Whatever names this function or relation goes to the primary.
    ///
    /// # Errors
    /// If it is not a name, with or without a schema.
    pub fn writes(&mut self, name: &str) -> Result<(), NameError> {
        self.put(name, true)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn put(&mut self, text: &str, writes: bool) -> Result<(), NameError> {
        let (schema, name) = parse(text).ok_or_else(|| NameError(String::from(text)))?;
        let order = |entry: &Entry| (&entry.name, &entry.schema).cmp(&(&name, &schema));
        match self.entries.binary_search_by(order) {
            Ok(found) => {
                if let Some(entry) = self.entries.get_mut(found) {
                    entry.writes = writes;
                }
            }
            Err(place) => {
                let entry = Entry {
                    name,
                    schema,
                    writes,
                };
                self.entries.insert(place, entry);
            }
        }
        Ok(())
    }

    /// What they say of a name. The one with the schema is heard before the one without.
    pub(super) fn on(&self, schema: Option<&[u8]>, name: &[u8]) -> Said<'_> {
        let all = super::range(&self.entries, name, |entry| &entry.name);
        let (bare, qualified) = match all.first() {
            Some(first) if first.schema.is_none() => all.split_at(1),
            _ => (&all[..0], all),
        };
        let entries = match schema {
            None if bare.is_empty() => qualified,
            None => bare,
            Some(schema) => {
                let is = |known: &String| known.as_bytes() == schema;
                let is_exact = |entry: &Entry| entry.schema.as_ref().is_some_and(is);
                let exact = qualified.iter().position(is_exact);
                let exact = exact.and_then(|at| qualified.get(at..at.saturating_add(1)));
                exact.unwrap_or(bare)
            }
        };
        Said {
            reads: entries.iter().any(|entry| !entry.writes),
            writes: entries.iter().any(|entry| entry.writes),
            entries,
        }
    }
}

impl Said<'_> {
    /// Whether it is said of what has that name in this schema.
    pub(super) fn is_about(&self, schema: &str) -> bool {
        let is_about = |entry: &Entry| entry.schema.as_deref().is_none_or(|of| of == schema);
        self.entries.iter().any(is_about)
    }
}

/// Splits `name` or `schema.name` as the server would.
fn parse(text: &str) -> Option<(Option<String>, String)> {
    let mut names = names_in(text);
    let first = names.next()?;
    let last = names.next();
    let (schema, name) = match last {
        None => (None, first.1),
        Some((Some(schema), name)) => (Some(schema), name),
        Some((None, _)) => return None,
    };
    if names.next().is_some() {
        return None;
    }
    // The names have to be all that there is.
    let rest = text.trim();
    let rest = match schema {
        None => rest.strip_prefix(name.text)?,
        Some(schema) => rest
            .strip_prefix(schema.text)?
            .trim_start()
            .strip_prefix('.')?
            .trim_start()
            .strip_prefix(name.text)?,
    };
    let owned = |key: &[u8]| String::from_utf8(key.to_vec()).ok();
    let schema = match schema {
        None => None,
        Some(schema) => Some(owned(schema.key().as_bytes())?),
    };
    let name = owned(name.key().as_bytes())?;
    rest.is_empty().then_some((schema, name))
}

/// A text that is not the name of a function or relation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name: write `name` or `schema.name`, in double quotes where SQL needs them"
)]
pub struct NameError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, schema: Option<&str>, name: &str) {
        let parsed = parse(text).unwrap();
        assert_eq!((parsed.0.as_deref(), parsed.1.as_str()), (schema, name));
    }

    #[test]
    fn a_name_is_read_as_sql_reads_it() {
        check("Price", None, "price");
        check(" \"Price\" ", None, "Price");
        check("App . \"My \"\"Fn\"", Some("app"), "My \"Fn");
        check("\"a.b\".c", Some("a.b"), "c");
    }

    #[test]
    fn anything_else_is_refused() {
        let others = [
            "", " ", ".", "a.", ".a", "a.b.c", "a b", "a()", "a;", "\"a", "\"\"", "1", "a.1",
            "'a'", "U&\"a\"", "a--", "a/**/", "a..b", "-a", "a.b.", "\u{a0}",
        ];
        for other in others {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
