//! Statements as services send them, from the shortest to a report.
//!
//! They are what the cost of routing by text is measured on. How often each comes, a service knows.

/// A statement, and what to call it in a table of figures.
pub type Named = (&'static str, &'static str);

/// One of each kind.
pub const ORDINARY: [Named; 7] = [
    ("one", "SELECT 1"),
    ("key", "SELECT id, email, name FROM users WHERE id = $1"),
    ("joins", JOINS),
    ("report", REPORT),
    (
        "skip_locked",
        "SELECT id, payload FROM jobs WHERE state = 'ready' ORDER BY id LIMIT 10 \
         FOR UPDATE SKIP LOCKED",
    ),
    (
        "insert",
        "INSERT INTO orders (customer_id, total, note) VALUES ($1, $2, $3) RETURNING id",
    ),
    (
        "update",
        "UPDATE accounts SET balance = balance - $2, changed_at = now() WHERE id = $1",
    ),
];

/// Two joins, as a mapper of objects writes them.
pub const JOINS: &str = "\
SELECT o.id, o.placed_at, o.total, c.name, c.email, a.street, a.city, a.country
FROM orders AS o
JOIN customers AS c ON c.id = o.customer_id
LEFT JOIN addresses AS a ON a.id = o.address_id AND a.deleted_at IS NULL
WHERE o.customer_id = $1 AND o.state IN ('paid', 'sent') AND o.placed_at >= $2
ORDER BY o.placed_at DESC, o.id LIMIT 50 OFFSET 0";

/// Parts with names, aggregates, strings and comments, as an analyst writes them.
pub const REPORT: &str = "\
-- Revenue by month and country; gifts don't count.
WITH paid AS (
    SELECT o.id, o.customer_id, o.total, date_trunc('month', o.placed_at) AS month
    FROM orders AS o
    WHERE o.state = 'paid' AND o.note IS DISTINCT FROM 'it''s a gift'
      AND o.placed_at >= $1 AND o.placed_at < $2
), /* only what was sent; returned goods are elsewhere */ sent AS (
    SELECT p.month, c.country, sum(p.total) AS revenue, count(*) AS orders
    FROM paid AS p JOIN customers AS c ON c.id = p.customer_id
    WHERE EXISTS (SELECT 1 FROM parcels AS x WHERE x.order_id = p.id AND x.sent_at IS NOT NULL)
    GROUP BY p.month, c.country
)
SELECT s.month, upper(s.country) AS country, s.revenue, s.orders,
       round(s.revenue / nullif(s.orders, 0), 2) AS mean,
       rank() OVER (PARTITION BY s.month ORDER BY s.revenue DESC) AS place
FROM sent AS s WHERE s.country <> 'n/a; -- none'
ORDER BY s.month, place";

/// A read of so many bytes that differs from others of that length by its number.
#[must_use]
pub fn read_of(bytes: usize, number: usize) -> String {
    let mut text = format!("SELECT c{number:03}");
    let columns = (0..).map(|column| format!(", column_{column}"));
    for column in columns {
        let end = " FROM t WHERE id = $1";
        if text.len() + column.len() + end.len() > bytes {
            let blanks = bytes.saturating_sub(text.len() + end.len());
            text.push_str(&" ".repeat(blanks));
            text.push_str(end);
            return text;
        }
        text.push_str(&column);
    }
    text
}
