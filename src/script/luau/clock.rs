//! `os` as a script has it: only time, and only the run's own, so that a re-run tells the same.

use std::fmt::Write as _;
use std::sync::Arc;

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};
use mlua::{Error, Lua, Result, Table, Value};

use super::budget::Budget;

/// Bytes of a format; what comes of it is at most some twenty times as long.
const FORMAT_BYTES: usize = 200;

/// Makes the library.
pub(super) fn library(lua: &Lua, budget: &Arc<Budget>) -> Result<Table> {
    let os = lua.create_table()?;
    let clock = Arc::clone(budget);
    os.raw_set("time", lua.create_function(move |_, when: Option<Table>| time(&clock, when.as_ref()))?)?;
    let clock = Arc::clone(budget);
    let date = move |lua: &Lua, (format, at): (Option<String>, Option<f64>)| date(lua, &clock, format, at);
    os.raw_set("date", lua.create_function(date)?)?;
    os.raw_set("difftime", lua.create_function(|_, (later, earlier): (f64, f64)| Ok(later - earlier))?)?;
    Ok(os)
}

/// Seconds since 1970: of now, or of a table of `year`, `month`, `day` and perhaps `hour`, `min`, `sec`, in UTC.
fn time(clock: &Budget, when: Option<&Table>) -> Result<i64> {
    let Some(table) = when else { return Ok(clock.now().div_euclid(1000)) };
    let field = |name: &str, otherwise: Option<i64>| match table.raw_get::<Value>(name)? {
        Value::Integer(n) => Ok(n),
        Value::Nil => otherwise.ok_or_else(|| Error::runtime(format!("os.time: the field `{name}` is missing"))),
        _ => Err(Error::runtime(format!("os.time: the field `{name}` must be a whole number"))),
    };
    let (year, month, day) = (field("year", None)?, field("month", None)?, field("day", None)?);
    let seconds = [("hour", 12, 3600), ("min", 0, 60), ("sec", 0, 1)].into_iter().try_fold(0_i64, |sum, part| {
        let (name, otherwise, weight) = part;
        Ok::<i64, Error>(sum.saturating_add(field(name, Some(otherwise))?.saturating_mul(weight)))
    })?;
    // A month or a day past its end runs on into the next, as in C.
    let months = year.saturating_mul(12).saturating_add(month - 1);
    let first = i32::try_from(months.div_euclid(12)).ok().and_then(|year| {
        let month = u32::try_from(months.rem_euclid(12)).ok()? + 1;
        NaiveDate::from_ymd_opt(year, month, 1)?.and_hms_opt(0, 0, 0)
    });
    let first = first.ok_or_else(|| Error::runtime("os.time: no such date"))?.and_utc().timestamp();
    Ok(first.saturating_add(day.saturating_sub(1).saturating_mul(86_400)).saturating_add(seconds))
}

fn date(lua: &Lua, clock: &Budget, format: Option<String>, at: Option<f64>) -> Result<Value> {
    let seconds = at.unwrap_or_else(|| clock.now().div_euclid(1000) as f64);
    let at: Option<DateTime<Utc>> = DateTime::from_timestamp(seconds as i64, 0).filter(|_| seconds.is_finite());
    let at = at.ok_or_else(|| Error::runtime("os.date: no such time"))?;
    let format = format.unwrap_or_else(|| "%c".to_owned());
    // `!` asks for UTC: there is nothing else here.
    let format = format.strip_prefix('!').unwrap_or(&format);
    if format == "*t" {
        let table = lua.create_table()?;
        for (name, value) in [
            ("year", i64::from(at.year())),
            ("month", at.month().into()),
            ("day", at.day().into()),
            ("hour", at.hour().into()),
            ("min", at.minute().into()),
            ("sec", at.second().into()),
            ("wday", i64::from(at.weekday().num_days_from_sunday()) + 1),
            ("yday", at.ordinal().into()),
        ] {
            table.raw_set(name, value)?;
        }
        table.raw_set("isdst", false)?;
        return Ok(Value::Table(table));
    }
    if format.len() > FORMAT_BYTES {
        return Err(Error::runtime(format!("os.date: a format has at most {FORMAT_BYTES} bytes")));
    }
    let mut text = String::new();
    write!(text, "{}", at.format(format)).map_err(|_| Error::runtime("os.date: the format is not understood"))?;
    lua.create_string(&text).map(Value::String)
}
