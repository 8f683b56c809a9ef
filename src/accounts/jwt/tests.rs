//! Access tokens: every refusal by its name.

use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;

const NEW: &str = "bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldy1uZXc";
const OLD: &str = "b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQ";

fn keys(setting: &str) -> Keys {
    Keys::parse(&Secret::new(setting)).unwrap()
}

fn jwt(keys: Keys) -> (Jwt, Clock) {
    let clock = Clock::manual(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
    (Jwt::new(keys, &AccountsOptions::default(), clock.clone()), clock)
}

fn both() -> Keys {
    keys(&format!("new:{NEW},old:{OLD}"))
}

/// A token of these parts, signed as the key of `secret` signs HS256, whatever the header says.
fn forge(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn new_secret() -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(NEW).unwrap()
}

fn header() -> Value {
    json!({"alg": "HS256", "typ": "JWT", "kid": "new"})
}

fn good() -> Value {
    json!({
        "sub": "42", "fam": "6f1d7c1e-52b4-4a57-9d0b-7061726c6f72", "role": "user", "iat": 1_700_000_000,
        "nbf": 1_700_000_000, "exp": 1_700_000_900, "iss": "parlor", "aud": "parlor",
    })
}

/// The good claims but for one.
fn but(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[test]
fn a_token_says_what_was_signed() {
    let (jwt, clock) = jwt(both());
    let family = FamilyId::fresh();
    let far = clock.now() + TimeDelta::days(30);
    let (token, signed) = jwt.sign(UserId(42), family, Role::Admin, far).unwrap();
    let read = jwt.verify(token.expose()).unwrap();
    assert_eq!(read, signed);
    let ends = clock.now() + TimeDelta::seconds(900);
    assert_eq!(read, Claims { user_id: UserId(42), family_id: family, role: Role::Admin, expires_at: ends });
    let header = jsonwebtoken::decode_header(token.expose()).unwrap();
    assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::HS256, Some("new")), "the first key signs");
}

#[test]
fn a_token_ends_with_its_login() {
    let (jwt, clock) = jwt(both());
    let soon = clock.now() + TimeDelta::seconds(60);
    let (_, claims) = jwt.sign(UserId(1), FamilyId::fresh(), Role::User, soon).unwrap();
    assert_eq!(claims.expires_at, soon);
}

#[test]
fn a_forged_token_with_the_right_key_is_good_so_the_refusals_below_are_for_their_reasons() {
    let (jwt, _) = jwt(both());
    assert!(jwt.verify(&forge(&header(), &good(), &new_secret())).is_ok());
    assert!(jwt.verify(&forge(&header(), &but("aud", json!(["other", "parlor"])), &new_secret())).is_ok());
}

#[test]
fn alg_none_is_refused_in_every_spelling() {
    let (jwt, _) = jwt(both());
    for alg in ["none", "None", "NONE"] {
        let mut token = forge(&json!({"alg": alg, "kid": "new"}), &good(), &new_secret());
        assert_eq!(jwt.verify(&token), Err(Error::AlgorithmNone));
        token.truncate(token.rfind('.').unwrap() + 1);
        assert_eq!(jwt.verify(&token), Err(Error::AlgorithmNone), "unsigned");
    }
}

#[test]
fn a_foreign_algorithm_is_refused() {
    let (jwt, _) = jwt(both());
    for alg in ["HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256", "HS256 ", "X"] {
        let token = forge(&json!({"alg": alg, "kid": "new"}), &good(), &new_secret());
        assert_eq!(jwt.verify(&token), Err(Error::ForeignAlgorithm), "{alg}");
    }
}

#[test]
fn an_unknown_key_and_a_wrong_signature_are_refused() {
    let (jwt, _) = jwt(both());
    let secret = new_secret();
    let unknown = json!({"alg": "HS256", "kid": "newer"});
    assert_eq!(jwt.verify(&forge(&unknown, &good(), &secret)), Err(Error::UnknownKey));
    assert_eq!(jwt.verify(&forge(&json!({"alg": "HS256"}), &good(), &secret)), Err(Error::UnknownKey));
    let old = URL_SAFE_NO_PAD.decode(OLD).unwrap();
    assert_eq!(jwt.verify(&forge(&header(), &good(), &old)), Err(Error::WrongSignature), "another key's");
    let token = forge(&header(), &good(), &secret);
    let other = forge(&header(), &but("sub", json!("1")), &secret);
    let mixed = format!("{}.{}", other.rsplit_once('.').unwrap().0, token.rsplit_once('.').unwrap().1);
    assert_eq!(jwt.verify(&mixed), Err(Error::WrongSignature), "another body's");
    assert_eq!(jwt.verify(&token[..=token.rfind('.').unwrap()]), Err(Error::WrongSignature), "none");
    // What is signed by others is not judged by its contents.
    let expired = forge(&header(), &but("exp", json!(1)), &old);
    assert_eq!(jwt.verify(&expired), Err(Error::WrongSignature));
}

#[test]
fn a_token_expires_after_its_leeway_and_not_before() {
    let (jwt, clock) = jwt(both());
    let token = forge(&header(), &good(), &new_secret());
    clock.advance(TimeDelta::milliseconds(904_999));
    assert!(jwt.verify(&token).is_ok());
    clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(jwt.verify(&token), Err(Error::Expired));
}

#[test]
fn a_token_is_not_valid_before_its_time_less_its_leeway() {
    let (jwt, clock) = jwt(both());
    let token = forge(&header(), &but("nbf", json!(1_700_000_006)), &new_secret());
    clock.advance(TimeDelta::milliseconds(999));
    assert_eq!(jwt.verify(&token), Err(Error::NotYetValid));
    clock.advance(TimeDelta::milliseconds(1));
    assert!(jwt.verify(&token).is_ok());
}

#[test]
fn another_issuer_or_audience_is_refused_and_so_is_none() {
    let (jwt, _) = jwt(both());
    let verify = |claims: &Value| jwt.verify(&forge(&header(), claims, &new_secret()));
    assert_eq!(verify(&but("iss", json!("other"))), Err(Error::WrongIssuer));
    assert_eq!(verify(&without("iss")), Err(Error::WrongIssuer));
    assert_eq!(verify(&but("iss", json!(5))), Err(Error::WrongIssuer));
    assert_eq!(verify(&but("aud", json!("other"))), Err(Error::WrongAudience));
    assert_eq!(verify(&without("aud")), Err(Error::WrongAudience));
    assert_eq!(verify(&but("aud", json!([]))), Err(Error::WrongAudience));
}

#[test]
fn what_is_no_token_of_ours_is_malformed() {
    let (jwt, _) = jwt(both());
    let secret = new_secret();
    let good_one = forge(&header(), &good(), &secret);
    for text in ["", ".", "..", "a.b.c", "e30.e30.e30", &format!("{good_one}.x"), &"x".repeat(MAX_BYTES + 1)] {
        assert_eq!(jwt.verify(text), Err(Error::Malformed), "{text}");
    }
    for name in ["sub", "fam", "role", "nbf", "exp"] {
        assert_eq!(jwt.verify(&forge(&header(), &without(name), &secret)), Err(Error::Malformed), "no {name}");
    }
    for (name, value) in [
        ("sub", json!("ada")),
        ("sub", json!(42)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(-1)),
        ("exp", json!("1700000900")),
        ("nbf", json!(-1)),
        ("role", json!("root")),
    ] {
        assert_eq!(jwt.verify(&forge(&header(), &but(name, value), &secret)), Err(Error::Malformed), "{name}");
    }
    let critical = json!({"alg": "HS256", "kid": "new", "crit": ["exp"]});
    assert_eq!(jwt.verify(&forge(&critical, &good(), &secret)), Err(Error::Malformed));
}

#[test]
fn keys_are_rotated_without_refusing_anybody() {
    let far = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let sign = |jwt: &Jwt| jwt.sign(UserId(1), FamilyId::fresh(), Role::User, far).unwrap().0;
    let (before, _) = jwt(keys(&format!("old:{OLD}")));
    let (added, _) = jwt(keys(&format!("old:{OLD},new:{NEW}")));
    let (changed, _) = jwt(both());
    let (after, _) = jwt(keys(&format!("new:{NEW}")));
    for (signs, reads) in [(&before, &added), (&added, &before), (&added, &changed), (&changed, &added)] {
        assert!(reads.verify(sign(signs).expose()).is_ok());
    }
    assert!(after.verify(sign(&changed).expose()).is_ok());
    assert_eq!(after.verify(sign(&added).expose()), Err(Error::UnknownKey));
}

#[test]
fn every_refusal_has_a_code_of_its_own() {
    let all = [
        Error::AlgorithmNone,
        Error::ForeignAlgorithm,
        Error::UnknownKey,
        Error::WrongSignature,
        Error::Expired,
        Error::NotYetValid,
        Error::WrongIssuer,
        Error::WrongAudience,
        Error::Malformed,
    ];
    let codes: std::collections::HashSet<_> = all.iter().map(|error| error.code()).collect();
    assert_eq!(codes.len(), all.len());
    // They go into a quoted header value.
    assert!(all.iter().all(|error| !error.to_string().contains('"')));
}
