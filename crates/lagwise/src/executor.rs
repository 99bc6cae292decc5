//! Makes `&Router` and `&Session` what sqlx runs statements on.
//!
//! A statement is taken apart when it is made: from then on it borrows nothing, and the session that
//! it belongs to is known. Where it goes is `way`'s business, how it is run `run`'s and `stream`'s.
//! Every method leads there; none has a rule of its own.

mod run;
mod statement;
mod stream;
mod way;

use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::{Acquire, Describe, Either, Execute, Executor, SqlStr};

use self::run::run;
pub(crate) use self::statement::Statement;
use self::stream::{next, stream};
pub(crate) use self::way::Origin;
use crate::backend::Backend;
use crate::connection::WriteConnection;
use crate::router::Router;
use crate::routing;
use crate::session::Session;

/// What a stream of a statement's results yields.
pub(crate) type Item<DB> = Either<<DB as sqlx::Database>::QueryResult, <DB as sqlx::Database>::Row>;

/// Both handles route alike; they differ only in where the session comes from.
macro_rules! route_statements {
    ($handle:ident, $origin:expr) => {
        impl<'p, DB: Backend> Executor<'p> for &'_ $handle<DB> {
            type Database = DB;

            fn execute<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<DB::QueryResult, sqlx::Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, DB>,
            {
                run(
                    $origin(self),
                    Statement::take(query),
                    |connection, statement| collect(connection, statement, Either::left),
                    Ok,
                )
            }

            fn execute_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, Result<DB::QueryResult, sqlx::Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, DB>,
            {
                stream($origin(self), Statement::take(query), Either::left)
            }

            fn fetch<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<DB::Row, sqlx::Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, DB>,
            {
                stream($origin(self), Statement::take(query), Either::right)
            }

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, Result<Item<DB>, sqlx::Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, DB>,
            {
                stream($origin(self), Statement::take(query), Some)
            }

            fn fetch_all<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Vec<DB::Row>, sqlx::Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, DB>,
            {
                run(
                    $origin(self),
                    Statement::take(query),
                    |connection, statement| collect(connection, statement, Either::right),
                    Ok,
                )
            }

            fn fetch_one<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<DB::Row, sqlx::Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, DB>,
            {
                run(
                    $origin(self),
                    Statement::take(query),
                    DB::fetch_optional_on,
                    |row| row.ok_or(sqlx::Error::RowNotFound),
                )
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, DB>,
            {
                run(
                    $origin(self),
                    Statement::take(query),
                    DB::fetch_optional_on,
                    Ok,
                )
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [DB::TypeInfo],
            ) -> BoxFuture<'e, Result<DB::Statement, sqlx::Error>>
            where
                'p: 'e,
            {
                let parameters: Arc<[DB::TypeInfo]> = parameters.into();
                run(
                    $origin(self),
                    Ok(Statement::of_text(sql)),
                    move |connection, statement| {
                        let parameters = Arc::clone(&parameters);
                        Box::pin(async move {
                            DB::prepare_on(connection, statement.sql, &parameters).await
                        })
                    },
                    Ok,
                )
            }

            #[doc(hidden)]
            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, sqlx::Error>>
            where
                'p: 'e,
            {
                run(
                    $origin(self),
                    Ok(Statement::of_text(sql)),
                    |connection, statement| DB::describe_on(connection, statement.sql),
                    Ok,
                )
            }
        }

        /// Generic code gets connections to the primary, and the driver's own transaction there.
        ///
        /// Nobody sees that transaction end, so one that is begun in a session keeps the session on
        /// the primary from then on. The handle's own `begin` does not.
        impl<'p, DB: Backend> Acquire<'p> for &'_ $handle<DB> {
            type Database = DB;
            type Connection = WriteConnection<DB>;

            fn acquire(self) -> BoxFuture<'p, Result<WriteConnection<DB>, sqlx::Error>> {
                let origin: Origin<DB> = $origin(self);
                Box::pin(async move { Ok(routing::write(origin.caller()).await?) })
            }

            fn begin(self) -> BoxFuture<'p, Result<sqlx::Transaction<'p, DB>, sqlx::Error>> {
                let origin: Origin<DB> = $origin(self);
                Box::pin(async move { Ok(routing::begin_unseen(origin.caller()).await?) })
            }
        }
    };
}

/// All results of a statement, as far as `keep` keeps them.
fn collect<'c, DB, T, C>(
    connection: &'c mut DB::Connection,
    statement: Statement<DB>,
    keep: fn(Item<DB>) -> Option<T>,
) -> BoxFuture<'c, Result<C, sqlx::Error>>
where
    DB: Backend,
    T: 'c,
    C: Default + Extend<T> + Send + 'c,
{
    Box::pin(async move {
        let mut kept = C::default();
        let mut items = DB::fetch_many_on(connection, statement);
        while let Some(item) = next(&mut items).await {
            kept.extend(keep(item?));
        }
        Ok(kept)
    })
}

route_statements!(Router, Origin::ambient);
route_statements!(Session, Origin::of_session);
