//! `rapport user create`: makes a person a member of a business.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::api_key::business_or_new;
use crate::auth::{Role, Tenant, random};
use crate::base::error::BoxError;
use crate::db;
use crate::db::DatabaseArgs;
use crate::db::database_target::DatabaseTarget;
use crate::db::embedded::Absent;
use crate::identity::requests::{MAX_PASSWORD_LEN, MIN_PASSWORD_LEN};
use crate::identity::{passwords, provisioning};
use crate::resource::body::is_email;

/// The person to be made a member.
pub struct Person {
    pub email: String,
    pub name: String,
    pub role: Role,
}

/// Makes `person` a member of the business `slug`, with a password: the first line of standard input, or a random one,
/// which is printed as the last word. An existing user with that address joins unchanged, and keeps the password unless
/// one is given.
pub fn create(
    database: &DatabaseArgs,
    slug: &str,
    person: &Person,
    from_stdin: bool,
    create_business: bool,
) -> Result<(), BoxError> {
    let given = if from_stdin { Some(first_line()?) } else { None };
    let target = DatabaseTarget::open_beside(database, Absent::Refuse)?;
    let mut conn = target.connect_migrated()?;
    let business = business_or_new(&mut conn, slug, create_business)?;
    let tenant = Tenant::for_operator(business);
    let password = match &given {
        Some(password) => password.clone(),
        None => URL_SAFE_NO_PAD.encode(random::<15>()?),
    };
    let hash = passwords::hash_now(&password)?;
    let Person { email, name, role } = person;
    if !is_email(email) {
        return Err(format!("`{email}` is no e-mail address").into());
    }
    if name.trim().is_empty() {
        return Err("the name is blank".into());
    }
    let has_new_password = db::in_transaction(&mut conn, |tx| {
        provisioning::admit(tx, &tenant, (email, name), *role, &hash, given.is_some())
    })?;
    match (given, has_new_password) {
        (None, true) => println!("{email} may sign in to {slug} ({role}); the password is not shown again: {password}"),
        (None, false) => println!("{email} may sign in to {slug} ({role}) with the password that they have."),
        (Some(_), _) => println!("{email} may sign in to {slug} ({role})."),
    }
    Ok(())
}

fn first_line() -> Result<String, BoxError> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if !(MIN_PASSWORD_LEN..=MAX_PASSWORD_LEN).contains(&password.chars().count()) {
        let (least, most) = (MIN_PASSWORD_LEN, MAX_PASSWORD_LEN);
        return Err(format!("a password has {least} to {most} characters").into());
    }
    if password.trim().is_empty() {
        return Err("the password is blank".into());
    }
    Ok(password.to_owned())
}
