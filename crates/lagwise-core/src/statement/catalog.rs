//! placeholder, being written
use alloc::string::String;

/// What a database holds that the text of a statement cannot show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {}

impl Catalog {
    /// Knows nothing but what every server has built in.
    #[must_use]
    pub fn built_in() -> Self {
        Self::default()
    }

    /// Knows what a database holds; `overrides` have the last word.
    #[must_use]
    pub fn new(_objects: impl IntoIterator<Item = CatalogObject>, _overrides: &Overrides) -> Self {
        Self::default()
    }
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
        /// Whether it can be called as an attribute: `(t).f` for `f(t)`.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelationKind {
    /// A foreign table.
    Foreign,
    /// An unlogged table.
    Unlogged,
}

/// What the application knows better than the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {}

impl Overrides {
    /// Whatever names this function or relation may go to a replica.
    ///
    /// # Errors
    /// If it is not a name, with or without a schema.
    pub fn reads(&mut self, _name: &str) -> Result<(), NameError> {
        Ok(())
    }

    /// Whatever names this function or relation goes to the primary.
    ///
    /// # Errors
    /// If it is not a name, with or without a schema.
    pub fn writes(&mut self, _name: &str) -> Result<(), NameError> {
        Ok(())
    }
}

/// A text that is not the name of a function or relation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name: write `name` or `schema.name`, in double quotes where SQL needs them"
)]
pub struct NameError(String);
