//! `…/try`: a dry run. Nothing is sent, logged, or held against the script.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Payload};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Admitted, SOON, body, check, owner, unavailable, unknown_version};
use crate::accounts::Identity;
use crate::actors::outbox::monotonic;
use crate::config::scripts::Conduct;
use crate::http::auth::Caller;
use crate::http::user_ref::UserRef;
use crate::http::{Problem, State};
use crate::ids::{MessageUid, UserId};
use crate::protocol::frames::addressed;
use crate::script::call::{Diagnostic, Direction, Failure, FailureKind, Input, Language, Ran, SourceHash};
use crate::script::effects::Verdict;
use crate::script::pool::{Job, Lane};
use crate::script::standing::Standing;
use crate::script::trial::{Sample, Tried};
use crate::store::inbox::InboxEntry;

/// The most messages of one try.
const MOST: usize = 20;

/// What to try, and on what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TryBody {
    /// A draft. It is not kept.
    source: Option<String>,
    /// What the draft is written in; Luau when it is not said.
    language: Option<Language>,
    /// Or a version; without both, the newest.
    version: Option<u32>,
    /// 1 to 20 messages to try it on.
    messages: Option<Vec<Sample>>,
    /// Or the user's own newest messages of that direction, so many: 1 to 20. Not for administrators, who are not to
    /// read other people's messages.
    #[schema(minimum = 1, maximum = 20)]
    last: Option<usize>,
}

/// What a try came to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriedBody {
    /// The version that was tried; null: a draft.
    version: Option<u32>,
    /// The SHA-256 of the source, in hex.
    sha256: String,
    /// What is odd about a draft.
    warnings: Vec<Diagnostic>,
    /// For each message, in order (own messages newest first), what would have come of it.
    results: Vec<Tried>,
}

struct Script {
    version: Option<u32>,
    language: Language,
    hash: SourceHash,
    source: Arc<str>,
    warnings: Vec<Diagnostic>,
}

/// Run a draft or a version on messages, within the same limits as always, and see what would come of it.
#[utoipa::path(post, path = "/api/v1/users/{id}/scripts/{direction}/try", tag = "scripts", security(("bearer" = [])),
    request_body = TryBody,
    params(("id" = String, Path, description = "A user id, or `me`"), ("direction" = Direction, Path)), responses(
        (status = 200, description = "What would have come of it; a failed run is a result too", body = TriedBody),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 403, description = "`own_messages_only`: `last` of somebody else"),
        (status = 404, description = "`user_not_found`, `unknown_version`, `no_script`"),
        (status = 413, description = "`source_too_large`, `message_too_large`, `body_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_body`, `source_empty`; of a draft `script_does_not_compile` with `line`, \
            `column` and `diagnostics`, `script_check_failed`"),
        (status = 429, description = "`rate_limited`, with `Retry-After`"),
        (status = 501, description = "`language_unavailable`: this server has no interpreter for it"),
        (status = 503, description = "`scripts_unavailable`, `unavailable`, with `Retry-After`"),
    ))]
pub(super) async fn try_out(
    Caller(identity): Caller,
    state: Data<State>,
    path: Path<(UserRef, Direction)>,
    request: HttpRequest,
    payload: Payload,
) -> Result<Json<TriedBody>, Problem> {
    let (user, direction) = path.into_inner();
    let owner = owner(&state, &identity, user).await?;
    let admitted = state.script_requests.admit(identity.user_id)?;
    let largest = state.scripts.options.max_source_bytes + MOST * state.scripts.effect_limits.message_bytes;
    let TryBody { source, language, version, messages, last } =
        body::json(&request, payload, largest * body::JSON_BLOWS_UP + 64 * 1024).await?;
    let inputs = match (messages, last) {
        (Some(messages), None) => samples(&state, owner, direction, messages)?,
        (None, Some(last)) => own_messages(&state, &identity, owner, direction, last).await?,
        _ => return Err(invalid("messages", "give `messages` or `last`, one of both".to_owned())),
    };
    let script = match (source, version) {
        (Some(source), None) => draft(&state, owner, direction, language.unwrap_or(Language::Luau), source).await?,
        (None, version) => kept(&state, owner, direction, version).await?,
        (Some(_), Some(_)) => return Err(invalid("version", "give `source` or `version`, not both".to_owned())),
    };
    let mut trials = Trials::new(&state, &admitted, script.language)?;
    let mut results = Vec::with_capacity(inputs.len());
    let mut ended = None;
    // One after the other: whoever else tries something gets a turn in between.
    for (n, (message_uid, input)) in inputs.into_iter().enumerate() {
        if let Some(why) = ended {
            let not = Ran::not(Failure::new(FailureKind::Overloaded, why));
            results.push(Tried::of(&input, not, &state.scripts.effect_limits, message_uid));
            continue;
        }
        let job = Job {
            owner,
            language: script.language,
            hash: script.hash,
            source: script.source.clone(),
            direction,
            input: input.clone(),
            // Of an own message the same as when it came.
            seed: message_uid.map_or(n as u64, |uid| uid.made(owner, 0).0.as_u64_pair().0),
            lane: trials.lane(),
        };
        let ran = state.scripts.workers.run(job).await;
        if let Err(failure) = &ran.outcome
            && matches!(failure.kind, FailureKind::Unavailable | FailureKind::Overloaded)
        {
            return Err(unavailable(failure));
        }
        ended = trials.note(&ran);
        results.push(Tried::of(&input, ran, &state.scripts.effect_limits, message_uid));
    }
    let Script { version, hash, warnings, .. } = script;
    Ok(Json(TriedBody { version, sha256: hash.to_string(), warnings, results }))
}

/// What somebody's tries have cost: they share a worker with whoever else tries something, and with new scripts.
struct Trials<'a> {
    conduct: Conduct,
    standing: Standing,
    admitted: &'a Admitted,
}

impl<'a> Trials<'a> {
    fn new(state: &State, admitted: &'a Admitted, language: Language) -> Result<Self, Problem> {
        let conduct = state.scripts.options.conduct(language);
        let mut standing = admitted.tries.get(&admitted.user).unwrap_or_default();
        if standing.is_held(monotonic(), &conduct) {
            let (most, seconds) = (conduct.budget_micros / 1000, conduct.window.as_secs());
            let detail = format!("your tries have used {most} ms of processor time within {seconds} s");
            let again = Duration::from_secs(seconds / 2).max(SOON);
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(again));
        }
        Ok(Self { conduct, standing, admitted })
    }

    fn lane(&mut self) -> Lane {
        let lane = self.standing.lane(0, monotonic());
        if lane == Lane::Alone { lane } else { Lane::Trial }
    }

    /// Takes a run into account; says why there must be no more.
    fn note(&mut self, ran: &Ran) -> Option<&'static str> {
        let verdict =
            ran.outcome.as_ref().map_or_else(|failure| Verdict::Failed(failure.clone()), |_| Verdict::Forward);
        let off = self.standing.note(ran, &verdict, monotonic(), &self.conduct);
        if off.is_some() {
            self.standing.switched_off(&self.conduct);
        }
        // Remembered at once: a client that hangs up has had its time too.
        self.admitted.tries.insert(self.admitted.user, self.standing.clone());
        if matches!(verdict, Verdict::Failed(Failure { kind: FailureKind::WorkerKilled, .. })) {
            return Some("not tried: over a message before it, the script brought its worker down");
        }
        off.filter(|off| off.code == "over_budget").map(|_| "not tried: your tries have used up their processor time")
    }
}

fn invalid(field: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail).field(field)
}

/// Inputs, and for own messages which they are.
type Inputs = Vec<(Option<MessageUid>, Input)>;

fn samples(state: &State, owner: UserId, direction: Direction, messages: Vec<Sample>) -> Result<Inputs, Problem> {
    if !(1..=MOST).contains(&messages.len()) {
        return Err(invalid("messages", format!("`messages` must have 1 to {MOST} entries, not {}", messages.len())));
    }
    let most = state.scripts.effect_limits.message_bytes;
    let input = |(n, sample): (usize, Sample)| {
        let bytes = sample.message_body.len();
        if bytes > most {
            let detail = format!("messages[{n}].messageBody: has {bytes} bytes, at most {most} are allowed");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "message_too_large", detail).field("messages"));
        }
        let input = sample.input(owner, direction, state.clock.now());
        Ok((None, input.map_err(|detail| invalid("messages", format!("messages[{n}].{detail}")))?))
    };
    messages.into_iter().enumerate().map(input).collect()
}

async fn own_messages(
    state: &State,
    caller: &Identity,
    owner: UserId,
    direction: Direction,
    last: usize,
) -> Result<Inputs, Problem> {
    if owner != caller.user_id {
        let detail = "only the user may try a script on messages of their own; bring `messages`";
        return Err(Problem::new(StatusCode::FORBIDDEN, "own_messages_only", detail).field("last"));
    }
    if !(1..=MOST).contains(&last) {
        return Err(invalid("last", format!("`last` must be from 1 to {MOST}")));
    }
    let sent = direction == Direction::Outgoing;
    let found = state.store.newest_of(owner, sent, u32::try_from(last).unwrap_or_default()).await?;
    Ok(found.into_iter().map(|entry| (Some(entry.message_uid), as_it_came(owner, entry))).collect())
}

fn as_it_came(owner: UserId, entry: InboxEntry) -> Input {
    Input {
        own_id: owner,
        sender_id: entry.sender_id,
        recipient_ids: addressed(&entry.participants, entry.sender_id),
        message_body: entry.message_body.into(),
        from_auto_reply: entry.from_auto_reply,
        conversation_id: entry.conversation_id,
        // Somebody has written in it by now.
        first_contact: false,
        sent_at: entry.sent_at.timestamp_millis(),
    }
}

async fn draft(
    state: &State,
    owner: UserId,
    direction: Direction,
    language: Language,
    source: String,
) -> Result<Script, Problem> {
    let source = body::sized(source, state.scripts.options.max_source_bytes)?;
    let warnings = check(state, owner, language, direction, &source).await?;
    Ok(Script { version: None, language, hash: SourceHash::of(&source), source: source.into(), warnings })
}

async fn kept(state: &State, owner: UserId, direction: Direction, version: Option<u32>) -> Result<Script, Problem> {
    let found = match version {
        Some(version) => {
            let found = state.store.script_version(owner, direction, version).await?;
            found.ok_or_else(|| unknown_version(version))?
        }
        None => {
            let newest = state.store.script_versions(owner, direction, None, 1).await?.into_iter().next();
            let detail = format!("there is no {direction} script yet: bring a draft as `source`");
            newest.ok_or_else(|| Problem::missing("no_script", detail))?
        }
    };
    let source = state.scripts.sources.get(found.hash).await?;
    let (version, warnings) = (Some(found.version), Vec::new());
    Ok(Script { version, language: found.language, hash: found.hash, source, warnings })
}
