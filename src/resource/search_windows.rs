//! Lists by a search for words, whose index has no order: that of a frequent word would read and sort all rows that have it.
//!
//! So the rows are read in the order of the list and tested, as long as that is promising, and only what is left is found by the index of
//! words. Three steps, in one statement, of which each begins where the one before it ends:
//! - `near`: the first rows. It ends early when it has found enough, as with frequent words;
//! - `next`: more rows, if the hits in the first ones promise that these fill the page;
//! - `older`: all others, by the index of words, if the page is not full. A word that was found so seldom has few rows.
//!
//! The steps only divide the rows: which are found, and in which order, does not depend on them. A filter by one link, such as a
//! conversation, and the times of the order lead the walk, as the indexes of links are in the order of the lists.

use super::cursor::Cursor;
use super::definition::Search;
use super::field::FieldType;
use super::list_query::{Filter, List, Predicate};
use super::{list_conditions, word_search};
use crate::auth::Tenant;
use crate::db::{SqlValue, Statement};

/// Rows of the first step: at least so many, and so many for each that is wanted.
const MIN_NEAR: u32 = 2_000;
const NEAR_EACH: u32 = 4;
/// Rows of the second step: some 20 ms to walk them, and as long for what the index of words has of a million messages for a word that does
/// not fill a page of 50 by then.
const NEXT_OF_PAGE: u32 = 20_000;
/// Those of a count, which wants thousands.
const NEXT_OF_COUNT: u32 = 50_000;

/// The rows that are found, in no order.
pub const FOUND: &str = "(SELECT * FROM near UNION ALL SELECT * FROM next UNION ALL SELECT * FROM older)";

/// How a list is searched.
pub struct SearchWindows<'a> {
    list: &'a List,
    tenant: &'a Tenant,
    text: &'a str,
    cursor: Option<&'a Cursor>,
    is_ordered: bool,
    /// Rows that are enough.
    wanted: u32,
    near: u32,
    next: u32,
}

impl<'a> SearchWindows<'a> {
    /// The search of a page, and of one row more; `None`: the list is selected as others are.
    pub fn of_page(list: &'a List, tenant: &'a Tenant) -> Option<Self> {
        let wanted = list.limit + 1;
        let near = (wanted * NEAR_EACH).max(MIN_NEAR);
        let (text, cursor, next) = (searched(list)?, list.cursor.as_ref(), NEXT_OF_PAGE);
        Some(Self { list, tenant, text, cursor, is_ordered: true, wanted, near, next })
    }

    /// The search of a count up to `wanted`, of all pages; `None`: the rows are counted as others are.
    pub fn of_count(list: &'a List, tenant: &'a Tenant, wanted: u32) -> Option<Self> {
        let (text, near, next) = (searched(list)?, MIN_NEAR, NEXT_OF_COUNT);
        Some(Self { list, tenant, text, cursor: None, is_ordered: false, wanted, near, next })
    }

    /// Appends the `WITH` that [`FOUND`] reads. Of each row, `columns` are found, over the alias `t`: those of the table, and `sort_key`.
    pub fn define(&self, sql: &mut Statement, columns: &'static str) {
        // Hits of the first rows that promise half of what is wanted: they may be few by chance, and walking on in vain takes less than the
        // index of words may.
        let promising = self.wanted.div_ceil(2 * (1 + self.next / self.near));
        sql.sql("WITH asked AS MATERIALIZED (SELECT ").append(word_search::query(self.text, self.list.is_whole_words));
        sql.sql(" AS words), near AS MATERIALIZED (SELECT ").sql(columns).sql(" FROM (");
        self.walk(sql, "t.*, ");
        self.ordered(sql).sql(" LIMIT ").number(self.near).sql(") t");
        self.fitting(sql);
        self.enough(sql);
        sql.sql("), edge AS MATERIALIZED (");
        self.walk(sql, "t.id, ");
        self.ordered(sql).sql(" LIMIT 1 OFFSET ").number(self.near - 1);
        sql.sql("), next AS MATERIALIZED (SELECT ").sql(columns).sql(" FROM (");
        self.walk_all(sql, "t.*, ");
        self.past(sql, "edge");
        self.ordered(sql).sql(" LIMIT ").number(self.next).sql(") t");
        self.fitting(sql);
        sql.sql(" AND (SELECT count(*) BETWEEN ").number(promising).sql(" AND ").number(self.wanted - 1);
        sql.sql(" FROM near)");
        self.enough(sql);
        sql.sql(" - (SELECT count(*) FROM near)), far AS MATERIALIZED (");
        self.walk(sql, "t.id, ");
        self.ordered(sql).sql(" LIMIT 1 OFFSET (SELECT CASE WHEN count(*) < ").number(promising);
        sql.sql(" THEN ").number(self.near - 1).sql(" ELSE ").number(self.near + self.next - 1);
        sql.sql(" END FROM near)), older AS MATERIALIZED (SELECT ").sql(columns).sql(" FROM (SELECT t.*, ");
        self.sort_key(sql).sql(" AS sort_key FROM ").ident(self.list.resource.table).sql(" t");
        self.fitting(sql);
        self.past(sql, "far");
        // A subquery of its own: the planner would else walk the index of the order to the end, since it expects to find enough soon.
        // What is full is asked first: then the end of the steps is not looked for.
        sql.sql(" OFFSET 0) t WHERE (SELECT count(*) FROM (SELECT FROM near UNION ALL SELECT FROM next) f) < ");
        sql.number(self.wanted).sql(" AND EXISTS (SELECT FROM far)");
        self.enough(sql);
        sql.sql(") ");
    }

    /// Appends the rows that are walked, from the cursor on: of each, `columns` and the sort key.
    fn walk(&self, sql: &mut Statement, columns: &'static str) {
        self.walk_all(sql, columns);
        if let Some(cursor) = self.cursor {
            list_conditions::past(sql, self.list);
            sql.bind(cursor.key.clone()).sql(", ").bind(cursor.id).sql(")");
        }
    }

    fn walk_all(&self, sql: &mut Statement, columns: &'static str) {
        let resource = self.list.resource;
        sql.sql("SELECT ").sql(columns);
        self.sort_key(sql).sql(" AS sort_key FROM ").ident(resource.table).sql(" t WHERE t.");
        sql.ident(resource.tenant_column).sql(" = ").bind(self.tenant.id());
        for filter in leading(self.list) {
            sql.sql(" AND ");
            list_conditions::filter_predicate(sql, filter);
        }
    }

    /// Appends the condition that a row comes after the one that a step names.
    fn past(&self, sql: &mut Statement, edge: &'static str) {
        list_conditions::past(sql, self.list);
        sql.sql("(SELECT sort_key FROM ").ident(edge).sql("), (SELECT id FROM ").ident(edge).sql("))");
    }

    /// Appends all conditions.
    fn fitting(&self, sql: &mut Statement) {
        list_conditions::conditions(sql, self.list, self.tenant);
        sql.sql(" AND t.search @@ (SELECT words FROM asked)");
    }

    fn enough(&self, sql: &mut Statement) {
        if self.is_ordered {
            let direction = list_conditions::direction(self.list);
            sql.sql(" ORDER BY t.sort_key ").sql(direction).sql(", t.id ").sql(direction);
        }
        sql.sql(" LIMIT ").number(self.wanted);
    }

    fn ordered<'s>(&self, sql: &'s mut Statement) -> &'s mut Statement {
        list_conditions::ordered(sql, self.list);
        sql
    }

    fn sort_key<'s>(&self, sql: &'s mut Statement) -> &'s mut Statement {
        sql.append(self.list.sort.expression()).sql(list_conditions::collation(self.list.sort.field_type))
    }
}

/// What is searched for, if it is words. (Few rows are deleted, and have an index of their own.)
fn searched(list: &List) -> Option<&str> {
    list.search.as_deref().filter(|_| list.resource.search == Search::Words && !list.deleted)
}

/// The filters by which an index in the list's order begins: the first by one link, and those of the order.
fn leading(list: &List) -> impl Iterator<Item = &Filter> {
    let is_link = |filter: &&Filter| {
        filter.field.field_type == FieldType::Uuid
            && matches!(filter.predicate, Predicate::Equal(SqlValue::Uuid(_)))
            && list.resource.list_filter(filter.field.name).is_none()
    };
    let is_of_order = |filter: &&Filter| {
        filter.field.name == list.sort.name
            && matches!(filter.predicate, Predicate::AtLeast(_) | Predicate::AtMost(_) | Predicate::Below(_))
    };
    list.filters.iter().find(is_link).into_iter().chain(list.filters.iter().filter(is_of_order))
}
