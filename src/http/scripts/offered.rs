//! `/scripts/languages` and `/scripts/templates`: what there is to write a script in, and to begin with.

use std::sync::LazyLock;

use actix_web::web::{Data, Json};
use rust_embed::RustEmbed;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::auth::Caller;
use crate::http::page::Page;
use crate::http::{Problem, State};
use crate::script::call::{Direction, Language};

/// A language that scripts may be written in.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LanguageBody {
    /// Which.
    language: Language,
    /// What it is called.
    #[schema(example = "Luau")]
    name: &'static str,
    /// The media type of its sources.
    #[schema(example = "text/x-luau")]
    content_type: &'static str,
    /// Whether this server runs it.
    available: bool,
    /// Why not, in words.
    reason: Option<String>,
}

/// The languages that scripts may be written in, those too that this server cannot run.
#[utoipa::path(get, path = "/api/v1/scripts/languages", tag = "scripts", security(("bearer" = [])), responses(
    (status = 200, description = "The languages", body = Page<LanguageBody>),
    (status = 401, description = "`token_missing`, `token_expired` …"),
))]
pub(super) async fn languages(_: Caller, state: Data<State>) -> Json<Page<LanguageBody>> {
    let body = |language: Language| {
        let reason = state.scripts.workers.lacks(language);
        let (name, content_type) = (language.title(), language.content_type());
        LanguageBody { language, name, content_type, available: reason.is_none(), reason }
    };
    Json(Page { items: Language::ALL.map(body).into(), next: None })
}

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/templates"]
struct Files;

/// A script to begin with.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateBody {
    /// Its name, that of its file; in another language than Luau with that behind it.
    #[schema(example = "first-contact")]
    name: String,
    /// The same for people.
    #[schema(example = "First contact")]
    title: String,
    /// What it does, in a sentence or two.
    description: String,
    /// Which messages it is for.
    direction: Direction,
    /// What it is written in.
    language: Language,
    /// The script.
    source: String,
    /// Messages to try it on: as in `messages` of a try.
    #[schema(value_type = Vec<Object>)]
    samples: Vec<Value>,
}

static TEMPLATES: LazyLock<Vec<TemplateBody>> = LazyLock::new(|| {
    let read = |path: &str| {
        let file = Files::get(path)?;
        let (name, ending) = path.rsplit_once('.')?;
        let language = Language::ALL.into_iter().find(|language| language.ending() == ending)?;
        // Types for editors.
        (!name.ends_with(".d")).then(|| template(name, language, std::str::from_utf8(&file.data).ok()?))?
    };
    Files::iter().filter_map(|path| read(&path)).collect()
});

/// The first lines are comments: the title, what it does, then `direction: …` and samples.
fn template(name: &str, language: Language, source: &str) -> Option<TemplateBody> {
    let (comment, name) = match language {
        Language::Luau => ("--", name.to_owned()),
        Language::Jolie => ("//", format!("{name}-{}", language.name())),
    };
    let comments: Vec<&str> = source.lines().map_while(|line| line.strip_prefix(comment)).map(str::trim).collect();
    let (title, rest) = comments.split_first()?;
    let field = |key: &'static str| {
        rest.iter().filter_map(move |line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
    };
    let about = rest.iter().take_while(|line| !line.starts_with("direction:") && !line.is_empty());
    Some(TemplateBody {
        name,
        title: (*title).to_owned(),
        description: about.copied().collect::<Vec<_>>().join(" "),
        direction: field("direction").next()?.parse().ok()?,
        language,
        source: source.to_owned(),
        samples: field("sample").filter_map(|sample| serde_json::from_str(sample).ok()).collect(),
    })
}

/// Scripts to begin with; each says in its first lines what it does, and has messages to try it on.
#[utoipa::path(get, path = "/api/v1/scripts/templates", tag = "scripts", security(("bearer" = [])), responses(
    (status = 200, description = "The templates, in the order of their names", body = Page<TemplateBody>),
    (status = 401, description = "`token_missing`, `token_expired` …"),
))]
pub(super) async fn templates(_: Caller) -> Result<Json<Page<TemplateBody>>, Problem> {
    Ok(Json(Page { items: TEMPLATES.clone(), next: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_template_with_words_and_samples() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let files = names.filter(|name| !name.ends_with(".d.luau")).count();
        assert_eq!(TEMPLATES.len(), files);
        for template in TEMPLATES.iter() {
            assert!(!template.title.is_empty() && template.description.ends_with('.'), "{template:?}");
            assert!(!template.samples.is_empty() && template.samples.iter().all(|s| s["messageBody"].is_string()));
            let begins = match template.language {
                Language::Luau => format!("function {}(", template.direction),
                Language::Jolie => "main {".to_owned(),
            };
            assert!(template.source.contains(&begins), "{template:?}");
        }
    }
}
