//! The server's keywords, for to tell a name from the grammar around it.
//!
//! `by (` is grammar, `f (` is a call and `version (` may be either. What a word may stand for is in
//! the server's own list, `pg_get_keywords()`, here of PostgreSQL 15 and 18 together. A word that the
//! versions disagree about is unreserved here: it may name a function on one of them.

use super::names::{Names, names};

/// What a word may stand for besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    /// Nothing.
    Reserved,
    /// A function or type.
    FunctionOrType,
    /// A column, but neither a function nor a type.
    Column,
    /// Anything.
    Unreserved,
}

impl Keyword {
    /// The keyword that a folded, unquoted word is.
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        // Most words are none, and one search tells.
        if !ALL.contains(word) {
            return None;
        }
        let lists = [
            (RESERVED, Self::Reserved),
            (FUNCTION_OR_TYPE, Self::FunctionOrType),
            (COLUMN, Self::Column),
        ];
        let found = lists.into_iter().find(|(list, _)| list.contains(word));
        Some(found.map_or(Self::Unreserved, |(_, keyword)| keyword))
    }
}

/// Words that are never the name of a function, a relation or a type.
const RESERVED: Names = names!(
    "all analyse analyze and any array as asc asymmetric both case cast check collate column \
     constraint create current_catalog current_date current_role current_time current_timestamp \
     current_user default deferrable desc distinct do else end except false fetch for foreign \
     from grant group having in initially intersect into lateral leading limit localtime \
     localtimestamp not null offset on only or order placing primary references returning select \
     session_user some symmetric table then to trailing true union unique user using variadic \
     when where window with",
);

/// Words that may name a function or type, and nothing else.
const FUNCTION_OR_TYPE: Names = names!(
    "authorization binary collation concurrently cross current_schema freeze full ilike inner is \
     isnull join left like natural notnull outer overlaps right similar tablesample verbose",
);

/// Words that name neither a function nor a type of a user: the grammar knows what follows them.
const COLUMN: Names = names!(
    "between bigint bit boolean char character coalesce dec decimal exists extract float greatest \
     grouping inout int integer interval json json_array json_arrayagg json_exists json_object \
     json_objectagg json_query json_scalar json_serialize json_table json_value least \
     merge_action national nchar none normalize nullif numeric out overlay position precision \
     real row setof smallint substring time timestamp treat trim values varchar xmlattributes \
     xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize \
     xmltable",
);

/// All words of the grammar. Those of no other list may name anything.
const ALL: Names = names!(
    "abort absent absolute access action add admin after aggregate all also alter always analyse \
     analyze and any array as asc asensitive assertion assignment asymmetric at atomic attach \
     attribute authorization backward before begin between bigint binary bit boolean both breadth \
     by cache call called cascade cascaded case cast catalog chain char character characteristics \
     check checkpoint class close cluster coalesce collate collation column columns comment \
     comments commit committed compression concurrently conditional configuration conflict \
     connection constraint constraints content continue conversion copy cost create cross csv \
     cube current current_catalog current_date current_role current_schema current_time \
     current_timestamp current_user cursor cycle data database day deallocate dec decimal declare \
     default defaults deferrable deferred definer delete delimiter delimiters depends depth desc \
     detach dictionary disable discard distinct do document domain double drop each else empty \
     enable encoding encrypted end enforced enum error escape event except exclude excluding \
     exclusive execute exists explain expression extension external extract false family fetch \
     filter finalize first float following for force foreign format forward freeze from full \
     function functions generated global grant granted greatest group grouping groups handler \
     having header hold hour identity if ilike immediate immutable implicit import in include \
     including increment indent index indexes inherit inherits initially inline inner inout input \
     insensitive insert instead int integer intersect interval into invoker is isnull isolation \
     join json json_array json_arrayagg json_exists json_object json_objectagg json_query \
     json_scalar json_serialize json_table json_value keep key keys label language large last \
     lateral leading leakproof least left level like limit listen load local localtime \
     localtimestamp location lock locked logged mapping match matched materialized maxvalue merge \
     merge_action method minute minvalue mode month move name names national natural nchar nested \
     new next nfc nfd nfkc nfkd no none normalize normalized not nothing notify notnull nowait \
     null nullif nulls numeric object objects of off offset oids old omit on only operator option \
     options or order ordinality others out outer over overlaps overlay overriding owned owner \
     parallel parameter parser partial partition passing password path period placing plan plans \
     policy position preceding precision prepare prepared preserve primary prior privileges \
     procedural procedure procedures program publication quote quotes range read real reassign \
     recheck recursive ref references referencing refresh reindex relative release rename \
     repeatable replace replica reset restart restrict return returning returns revoke right role \
     rollback rollup routine routines row rows rule savepoint scalar schema schemas scroll search \
     second security select sequence sequences serializable server session session_user set setof \
     sets share show similar simple skip smallint snapshot some source sql stable standalone \
     start statement statistics stdin stdout storage stored strict string strip subscription \
     substring support symmetric sysid system system_user table tables tablesample tablespace \
     target temp template temporary text then ties time timestamp to trailing transaction \
     transform treat trigger trim true truncate trusted type types uescape unbounded uncommitted \
     unconditional unencrypted union unique unknown unlisten unlogged until update user using \
     vacuum valid validate validator value values varchar variadic varying verbose version view \
     views virtual volatile when where whitespace window with within without work wrapper write \
     xml xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi \
     xmlroot xmlserialize xmltable year yes zone",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_one_class() {
        for list in [RESERVED, FUNCTION_OR_TYPE, COLUMN, ALL] {
            assert!(list.iter().is_sorted());
        }
        let special = || [RESERVED, FUNCTION_OR_TYPE, COLUMN].into_iter();
        for name in special().flat_map(Names::iter) {
            assert!(ALL.contains(name.as_bytes()), "{name}");
            let lists = special().filter(|list| list.contains(name.as_bytes()));
            assert_eq!(lists.count(), 1, "{name}");
        }
        for (word, keyword) in [
            ("for", Some(Keyword::Reserved)),
            ("left", Some(Keyword::FunctionOrType)),
            ("coalesce", Some(Keyword::Column)),
            ("by", Some(Keyword::Unreserved)),
            ("system_user", Some(Keyword::Unreserved)),
            ("nextval", None),
        ] {
            assert_eq!(Keyword::of(word.as_bytes()), keyword, "{word}");
        }
    }
}
