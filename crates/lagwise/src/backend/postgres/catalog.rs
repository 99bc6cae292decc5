//! What a PostgreSQL database holds that a statement's text cannot show: functions that may write,
//! tables that a server in recovery cannot read, and views and policies that reach either.
//!
//! What is built in, the core knows by name; so everything here is about objects that somebody has
//! created. The system catalogs are described in the PostgreSQL manual under "System Catalogs"; all
//! that is read here anybody may read.

use lagwise_core::{Catalog, CatalogObject, RelationKind};
use sqlx::postgres::PgConnection;

/// A text that changes when one of the objects does.
pub(super) async fn mark(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(MARK).fetch_one(connection).await
}

/// The objects that matter.
pub(super) async fn read(connection: &mut PgConnection) -> Result<Vec<CatalogObject>, sqlx::Error> {
    let found: Vec<Found> = sqlx::query_as(OBJECTS)
        .bind(KNOWN_EXTENSIONS)
        .fetch_all(connection)
        .await?;
    Ok(found.into_iter().filter_map(object).collect())
}

/// What it is, its schema, its name, two facts about it, and the query it stands for.
type Found = (String, String, String, bool, bool, Option<String>);

fn object((kind, schema, name, first, second, definition): Found) -> Option<CatalogObject> {
    Some(match kind.as_str() {
        "function" => CatalogObject::Function {
            schema,
            name,
            writes: first,
            attribute: second,
        },
        // Volatile functions of these only read, and one that is not can write all the same.
        "known function" => CatalogObject::Function {
            writes: !Catalog::knows_as_read(&name),
            schema,
            name,
            attribute: second,
        },
        "operator" => CatalogObject::Operator { name },
        "type" => CatalogObject::Type { schema, name },
        "foreign" | "sequence" | "unlogged" => CatalogObject::Relation {
            schema,
            name,
            kind: match kind.as_str() {
                "foreign" => RelationKind::Foreign,
                "sequence" => RelationKind::Sequence,
                _ => RelationKind::Unlogged,
            },
        },
        "view" => CatalogObject::View {
            schema,
            name,
            definition: definition?,
        },
        _ => return None,
    })
}

/// The extensions that come with the server (PostgreSQL manual, appendix F), whose functions the core
/// knows by name.
const KNOWN_EXTENSIONS: &[&str] = &[
    "adminpack",
    "amcheck",
    "autoinc",
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dblink",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "file_fdw",
    "fuzzystrmatch",
    "hstore",
    "insert_username",
    "intagg",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "moddatetime",
    "old_snapshot",
    "pageinspect",
    "pg_buffercache",
    "pg_freespacemap",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_surgery",
    "pg_trgm",
    "pg_visibility",
    "pg_walinspect",
    "pgcrypto",
    "pgrowlocks",
    "pgstattuple",
    "postgres_fdw",
    "refint",
    "seg",
    "sslinfo",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
    "xml2",
];

/// Objects of the server itself have numbers below 16384 (`FirstNormalObjectId`). A row's `xmin`
/// changes whenever the row does.
const MARK: &str = "\
    SELECT /* lagwise */ count(*) || '/' || coalesce(sum(hashtextextended(mark, 0)::numeric), 0) \
    FROM ( \
      SELECT 'p' || oid || ' ' || xmin AS mark FROM pg_proc WHERE oid >= 16384 \
      UNION ALL SELECT 'r' || oid || ' ' || xmin FROM pg_rewrite WHERE oid >= 16384 \
      UNION ALL SELECT 'o' || oid || ' ' || xmin FROM pg_operator WHERE oid >= 16384 \
      UNION ALL SELECT 'c' || oid || ' ' || xmin FROM pg_cast WHERE oid >= 16384 \
      UNION ALL SELECT 'y' || oid || ' ' || xmin FROM pg_policy \
      UNION ALL SELECT 'n' || oid || ' ' || nspname FROM pg_namespace \
        WHERE nspname !~ '^pg_(toast_)?temp_' \
      UNION ALL SELECT 't' || oid || ' ' || relname || relpersistence::text FROM pg_class \
        WHERE oid >= 16384 AND (relkind IN ('f', 'S', 'v') OR relpersistence = 'u') \
      UNION ALL SELECT 'i' || inhrelid || ' ' || inhparent FROM pg_inherits \
    ) marks";

/// A function may write if it is volatile; an aggregate, if a function that it is made of is. Any
/// function that can be called with one argument can be called as an attribute of it.
///
/// A partitioned or inherited table reads its children, and is what the worst of them is. A policy
/// is a condition that every read of its table runs, so its table is a view of it.
const OBJECTS: &str = "\
    WITH RECURSIVE /* lagwise */ \
    schemas AS ( \
      SELECT oid, nspname FROM pg_namespace \
      WHERE nspname NOT IN ('pg_catalog', 'information_schema') \
        AND nspname !~ '^pg_(toast|temp_|toast_temp_)' \
    ), \
    functions AS ( \
      SELECT p.oid, n.nspname, p.proname, e.objid IS NOT NULL AS known, \
        (p.provolatile = 'v' OR coalesce(a.volatile, false)) AND e.objid IS NULL AS writes, \
        p.pronargs > 0 AND p.pronargs - p.pronargdefaults <= 1 AS attribute \
      FROM pg_proc p JOIN schemas n ON n.oid = p.pronamespace \
      LEFT JOIN ( \
        SELECT d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid \
        WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass \
          AND d.deptype = 'e' AND x.extname = ANY ($1) \
      ) e ON e.objid = p.oid \
      LEFT JOIN LATERAL ( \
        SELECT bool_or(part.provolatile = 'v') AS volatile \
        FROM pg_aggregate g \
        JOIN pg_proc part ON part.oid IN (g.aggtransfn, g.aggfinalfn, g.aggcombinefn, \
          g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn) \
        WHERE g.aggfnoid = p.oid \
      ) a ON p.prokind = 'a' \
      WHERE p.prokind <> 'p' \
        AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) \
    ), \
    relations AS ( \
      SELECT c.oid, CASE c.relkind WHEN 'f' THEN 'foreign' WHEN 'S' THEN 'sequence' \
          ELSE 'unlogged' END AS kind FROM pg_class c \
      WHERE c.oid >= 16384 AND (c.relkind IN ('f', 'S') \
        OR c.relpersistence = 'u' AND c.relkind IN ('r', 'p', 'm')) \
      UNION \
      SELECT i.inhparent, r.kind FROM pg_inherits i JOIN relations r ON r.oid = i.inhrelid \
    ) \
    SELECT CASE WHEN known THEN 'known function' ELSE 'function' END, \
      nspname::text, proname::text, writes, attribute, NULL::text FROM functions \
    UNION ALL \
    SELECT DISTINCT 'operator', '', o.oprname::text, false, false, NULL \
    FROM pg_operator o JOIN functions f ON f.oid = o.oprcode WHERE f.writes \
    UNION ALL \
    SELECT DISTINCT 'type', n.nspname::text, t.typname::text, false, false, NULL \
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
    WHERE t.oid >= 16384 AND ( \
      EXISTS (SELECT FROM functions f WHERE f.writes \
        AND f.oid IN (t.typinput, t.typoutput, t.typreceive, t.typsend)) \
      OR EXISTS (SELECT FROM pg_cast k JOIN functions f ON f.oid = k.castfunc \
        WHERE f.writes AND t.oid IN (k.castsource, k.casttarget))) \
    UNION ALL \
    SELECT DISTINCT r.kind, n.nspname::text, c.relname::text, false, false, NULL \
    FROM relations r JOIN pg_class c ON c.oid = r.oid JOIN schemas n ON n.oid = c.relnamespace \
    WHERE c.relkind <> 'i' \
    UNION ALL \
    SELECT 'view', n.nspname::text, c.relname::text, false, false, pg_get_viewdef(c.oid) \
    FROM pg_class c JOIN schemas n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'v' AND c.oid >= 16384 \
    UNION ALL \
    SELECT 'view', n.nspname::text, c.relname::text, false, false, \
      'SELECT ' || pg_get_expr(y.polqual, y.polrelid) \
    FROM pg_policy y JOIN pg_class c ON c.oid = y.polrelid JOIN schemas n ON n.oid = c.relnamespace \
    WHERE y.polcmd IN ('r', '*') AND y.polqual IS NOT NULL";
