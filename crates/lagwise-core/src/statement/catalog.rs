//! What a database holds that the text of a statement cannot show.
//!
//! A view may call a function that writes, an unlogged table is empty on a replica, an operator is a
//! function in disguise. A [`Catalog`] holds the names of such objects, and of the functions that
//! only read. Everything that it does not hold, and that is not built in, is taken to write.
//!
//! Where the objects are read from is not decided here. Lookups do not allocate.

mod overrides;
mod views;

use alloc::string::String;
use alloc::vec::Vec;

pub use self::overrides::{NameError, Overrides};
use super::classify::{Effect, Origin, is_harmless, of_function};

/// What a database holds that the text of a statement cannot show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    functions: Vec<Function>,
    /// What is not to be named in a read, each with the reason.
    marked: Vec<Marked>,
    operators: Vec<String>,
    overrides: Overrides,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    name: String,
    schema: String,
    writes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Marked {
    name: String,
    /// None for an attribute, which is called by its name alone.
    schema: Option<String>,
    named: Named,
}

/// What a name stands for that need not be called to do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    /// The application wants it on the primary.
    Override,
    Relation(RelationKind),
    /// A view whose definition may write.
    View,
    /// A view of what belongs to a connection.
    SessionView,
    Type,
    /// A function that writes, and can be called as an attribute.
    Attribute,
    /// The application says that it only reads.
    Reads,
    /// Nothing that the catalog knows of.
    Unknown,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    Reads,
    Writes,
    BuiltIn(Effect),
    Unknown,
}

/// One object of a database that is not built in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatalogObject {
    /// A function, aggregate or procedure.
    Function {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
        /// Whether it may write: it is volatile, or built on one that is.
        writes: bool,
        /// Whether it can be called as an attribute, `(t).f` for `f(t)`: every function that can be
        /// called with one argument, of a row or of any other type.
        attribute: bool,
    },
    /// An operator whose function may write.
    Operator {
        /// Its name, such as `@@>`.
        name: String,
    },
    /// A type whose input, output or cast may write.
    Type {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
    },
    /// A table that a replica cannot read, or whose rows are not its own.
    Relation {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
        /// What it is.
        kind: RelationKind,
    },
    /// A view, which is what its definition is.
    View {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
        /// The query it stands for, as the server prints it.
        definition: String,
    },
}

/// Why a relation is not read from a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RelationKind {
    /// A foreign table.
    Foreign,
    /// A sequence. Its values are logged ahead of their use, so a replica shows later ones.
    Sequence,
    /// An unlogged table.
    Unlogged,
}

impl Catalog {
    /// Knows nothing but what every server has built in.
    #[must_use]
    pub fn built_in() -> Self {
        Self::default()
    }

    /// Knows what a database holds; `overrides` have the last word.
    ///
    /// Views are judged by their definitions, also those over other views.
    #[must_use]
    pub fn new(objects: impl IntoIterator<Item = CatalogObject>, overrides: &Overrides) -> Self {
        let mut catalog = Self {
            overrides: overrides.clone(),
            ..Self::default()
        };
        let mut views = Vec::new();
        for object in objects {
            catalog.add(object, &mut views);
        }
        catalog.sort();
        let judged = views::judge(views, &catalog);
        catalog.marked.extend(judged);
        catalog.sort();
        catalog
    }

    /// Whether a function of the server or of its contrib extensions is known to only read, by its
    /// name in lower case.
    ///
    /// Whoever reads a database's catalog needs it: an extension's function that is declared
    /// volatile, such as `uuid_generate_v4`, need not be one that writes.
    ///
    /// ```
    /// use lagwise_core::Catalog;
    ///
    /// assert!(Catalog::knows_as_read("uuid_generate_v4"));
    /// assert!(!Catalog::knows_as_read("dblink_exec"));
    /// ```
    #[must_use]
    pub fn knows_as_read(function: &str) -> bool {
        is_harmless(function.as_bytes())
    }

    fn add(&mut self, object: CatalogObject, views: &mut Vec<views::View>) {
        let mut mark = |schema, name, named| {
            self.marked.push(Marked {
                name,
                schema,
                named,
            });
        };
        match object {
            CatalogObject::Function {
                schema,
                name,
                writes,
                attribute,
            } => {
                if writes && attribute {
                    mark(None, name.clone(), Named::Attribute);
                }
                self.functions.push(Function {
                    name,
                    schema,
                    writes,
                });
            }
            CatalogObject::Operator { name } => self.operators.push(name),
            CatalogObject::Type { schema, name } => mark(Some(schema), name, Named::Type),
            CatalogObject::Relation { schema, name, kind } => {
                mark(Some(schema), name, Named::Relation(kind));
            }
            CatalogObject::View {
                schema,
                name,
                definition,
            } => views.push(views::View::new(schema, name, definition)),
        }
    }

    /// So that lookups can halve, and equal catalogs are equal.
    fn sort(&mut self) {
        self.functions.sort_unstable();
        self.functions.dedup();
        self.marked.sort_unstable();
        self.marked.dedup();
        self.operators.sort_unstable();
        self.operators.dedup();
    }

    /// What a call of this function does.
    pub(super) fn called(&self, schema: Option<&[u8]>, name: &[u8]) -> Called {
        let of_name = range(&self.functions, name, |function| &function.name);
        let is_of = |known: &str| schema.is_none_or(|schema| schema == known.as_bytes());
        let known = || of_name.iter().filter(|known| is_of(&known.schema));
        let said = self.overrides.on(schema, name);
        if said.writes {
            return Called::Writes;
        }
        if said.reads {
            // It is said of one schema's function; another one of that name may be meant.
            let others = known().any(|known| known.writes && !said.is_about(&known.schema));
            return if others {
                Called::Writes
            } else {
                Called::Reads
            };
        }
        if known().any(|known| known.writes) {
            return Called::Writes;
        }
        let is_known = known().next().is_some();
        let of_server =
            schema.is_none_or(|schema| matches!(schema, b"pg_catalog" | b"information_schema"));
        if of_server && is_harmless(name) {
            return Called::Reads;
        }
        match of_function(name) {
            Some((effect, _)) if of_server => Called::BuiltIn(effect),
            // An extension may be in any schema.
            Some((effect, Origin::Extension)) => Called::BuiltIn(effect),
            _ if is_known => Called::Reads,
            _ => Called::Unknown,
        }
    }

    /// What this name stands for, be it called or not. Only what stands behind a dot and is not
    /// called can be an attribute.
    pub(super) fn named(&self, schema: Option<&[u8]>, name: &[u8], is_attribute: bool) -> Named {
        if self.marked.is_empty() && self.overrides.is_empty() {
            return Named::Unknown;
        }
        let said = self.overrides.on(schema, name);
        if said.writes {
            return Named::Override;
        }
        let of_name = range(&self.marked, name, |marked| &marked.name);
        let is_of = |marked: &&Marked| match (&marked.schema, schema) {
            (Some(known), Some(schema)) => known.as_bytes() == schema,
            _ => true,
        };
        let is_said = |marked: &&Marked| {
            let known = marked.schema.as_deref();
            said.reads && known.is_none_or(|known| said.is_about(known))
        };
        let may_be = |marked: &&Marked| is_attribute || marked.named != Named::Attribute;
        let mut meant = of_name.iter().filter(may_be).filter(is_of);
        match meant.find(|marked| !is_said(marked)) {
            Some(marked) => marked.named,
            None if said.reads => Named::Reads,
            None => Named::Unknown,
        }
    }

    /// Whether the function of an operator of this name may write.
    pub(super) fn is_operator(&self, name: &str) -> bool {
        let found = self
            .operators
            .binary_search_by(|known| known.as_str().cmp(name));
        found.is_ok()
    }
}

impl core::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Catalog")
            .field("functions", &self.functions.len())
            .field("marked", &self.marked.len())
            .field("operators", &self.operators.len())
            .field("overrides", &self.overrides)
            .finish()
    }
}

/// The entries of that name, in a list that is sorted by name.
fn range<'a, T>(sorted: &'a [T], name: &[u8], name_of: impl Fn(&T) -> &String) -> &'a [T] {
    let start = sorted.partition_point(|entry| name_of(entry).as_bytes() < name);
    let rest = sorted.get(start..).unwrap_or_default();
    let end = rest.partition_point(|entry| name_of(entry).as_bytes() == name);
    rest.get(..end).unwrap_or_default()
}
