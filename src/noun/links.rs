//! Links lead to rows that are there: of this business, seen by whoever writes, and not deleted.
//!
//! Rows that can be deleted are locked against that `FOR KEY SHARE`, which is what their foreign keys do anyway when the row
//! is written: only so is a row that is being merged into another seen to be gone. It keeps no writer away and no reader.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{Arity, Change, Draft, Noun, Relation, select};
use crate::auth::Tenant;
use crate::db::{Statement, Tx, Value};
use crate::error::{Error, Fault, Result};

/// Refuses links of one row to rows that are deleted or not there, all at once. (The foreign keys refuse the latter as well,
/// one at a time, and cannot know of the former; so links to people, who are never deleted, are left to them.)
pub fn follow(tx: &mut Tx<'_>, tenant: &Tenant, draft: &Draft) -> Result<()> {
    let change = &draft.change;
    let links: Vec<(&'static str, &Relation, Uuid)> = change
        .values()
        .iter()
        .filter_map(|(field, value)| {
            Some((field.name, Relation::of_link(change.noun.relations, field.name)?, value.as_uuid()?))
        })
        .collect();
    if links.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::default();
    if change.noun.locked_first && !change.creates {
        // What is told of no link.
        sql.push(&format!("SELECT -1 FROM (SELECT t.id FROM {} AS t", change.noun.table));
        sql.append(select::scoped(change.noun, tenant)).push(" AND t.id = ").bind(Value::Uuid(Some(draft.id)));
        sql.push(" FOR NO KEY UPDATE OF t) AS own UNION ALL ");
    }
    for (place, (_, relation, id)) in links.iter().enumerate() {
        let noun = relation.noun;
        sql.push(if place == 0 { "SELECT " } else { " UNION ALL SELECT " });
        sql.push(&format!("{place} WHERE NOT EXISTS (SELECT FROM {} AS t", noun.table))
            .append(select::scoped(noun, tenant));
        sql.push(&format!(" AND t.{} = ", relation.target)).bind(Value::Uuid(Some(*id)));
        select::alive(&mut sql, noun);
        sql.push(" FOR KEY SHARE OF t)");
    }
    let broken = sql.rows(tx)?;
    let broken = broken.iter().filter_map(|row| links.get(usize::try_from(row.int(0)?).ok()?));
    let faults: Vec<Fault> = broken.map(|(field, relation, _)| fault(field, relation.noun)).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// Refuses the rows of a set with such links, in one query for all. Links to people too, so that the foreign keys have
/// nothing left to find: what they refuse, they refuse for the whole set.
pub fn follow_all(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [Draft]) -> Result<()> {
    let there = lock_existing(tx, tenant, drafts.iter().flat_map(|draft| links(&draft.change)))?;
    for draft in drafts {
        let broken = links(&draft.change)
            .filter(|(relation, id)| !there.get(relation.column).is_some_and(|ids| ids.contains(id)))
            .map(|(relation, _)| fault(relation.column, relation.noun));
        let faults: Vec<Fault> = broken.collect();
        if !faults.is_empty() {
            draft.refuse(Error::Invalid(faults));
        }
    }
    Ok(())
}

/// Which of the ids that links are to lead to are there, by the link's column, in one query. Rows that can be deleted are locked
/// against that.
pub fn lock_existing(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    links: impl Iterator<Item = (&'static Relation, Uuid)>,
) -> Result<Existing> {
    let mut wanted: Vec<(&'static Relation, HashSet<Uuid>)> = Vec::new();
    for (relation, id) in links {
        match wanted.iter_mut().find(|(known, _)| std::ptr::eq(*known, relation)) {
            Some((_, ids)) => drop(ids.insert(id)),
            None => wanted.push((relation, HashSet::from([id]))),
        }
    }
    let mut there = Existing::new();
    if wanted.is_empty() {
        return Ok(there);
    }
    // By the noun's order, whichever row came first: one shape for the same links.
    wanted.sort_by_key(|(relation, _)| relation.column);
    let mut sql = Statement::default();
    for (place, (relation, ids)) in wanted.iter().enumerate() {
        let (noun, target) = (relation.noun, relation.target);
        sql.push(if place == 0 { "SELECT " } else { " UNION ALL SELECT " });
        sql.push(&format!("{place}, there.{target} FROM (SELECT t.{target} FROM {} AS t", noun.table));
        sql.append(select::scoped(noun, tenant)).push(&format!(" AND t.{target} = ANY("));
        sql.bind(Value::Uuids(ids.iter().copied().collect())).push(")");
        select::alive(&mut sql, noun);
        if noun.soft_delete() {
            // In the order in which all lock rows of one noun.
            sql.push(&format!(" ORDER BY t.{target} FOR KEY SHARE OF t"));
        }
        sql.push(") AS there");
    }
    for row in sql.rows(tx)? {
        if let (Some(place), Some(id)) = (row.int(0), row.uuid(1))
            && let Some((relation, _)) = wanted.get(place as usize)
        {
            there.entry(relation.column).or_default().insert(id);
        }
    }
    Ok(there)
}

/// Ids of rows that are there, by the column of the link that leads to them.
pub type Existing = HashMap<&'static str, HashSet<Uuid>>;

/// Where the links that `change` sets lead.
pub fn links(change: &Change) -> impl Iterator<Item = (&'static Relation, Uuid)> + '_ {
    change.values().iter().filter_map(|(field, value)| {
        let shows = |relation: &&Relation| relation.arity == Arity::One && relation.column == field.name;
        Some((change.noun.relations.iter().find(shows)?, value.as_uuid()?))
    })
}

/// That a link leads nowhere.
pub fn fault(field: &str, noun: &Noun) -> Fault {
    let detail = format!("`{field}` names no {} of this business, or a deleted one.", noun.name);
    Fault::new(format!("/{field}"), "no_such_row", detail)
}
