//! Why a socket is closed: code, words and metric label, decided in this one place.

/// Why the server closes a socket. Whether to come back is told by the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// The client asked for it.
    Normal,
    /// The node stops: come back, another (or the same, restarted) takes over.
    Drained,
    /// The client broke RFC 6455.
    ProtocolError,
    /// A binary frame: the protocol is text.
    Binary,
    /// Text that is not UTF-8.
    NotUtf8,
    /// A frame over the limit.
    TooBig,
    /// The token ended, was revoked, or was no token.
    Token,
    /// The account was disabled.
    Disabled,
    /// Nothing was heard for two ping intervals.
    Silent,
    /// Too many frames that are no accepted messages, or too many sessions.
    TooMuch,
    /// The client does not read what it is sent.
    SlowReader,
    /// The server failed.
    Internal,
}

impl Close {
    /// Every reason, for whoever must know them all.
    pub const ALL: [Self; 12] = [
        Self::Normal,
        Self::Drained,
        Self::ProtocolError,
        Self::Binary,
        Self::NotUtf8,
        Self::TooBig,
        Self::Token,
        Self::Disabled,
        Self::Silent,
        Self::TooMuch,
        Self::SlowReader,
        Self::Internal,
    ];

    /// The code on the wire (RFC 6455, section 7.4; 4000 to 4999 are the application's).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::ProtocolError => 1002,
            Self::Binary => 1003,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::Drained => 1012,
            Self::Token | Self::Disabled => 4401,
            Self::Silent => 4408,
            Self::TooMuch => 4429,
            Self::SlowReader => 4508,
        }
    }

    /// What a person reads: at most 123 bytes.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "goodbye",
            Self::ProtocolError => "this is not RFC 6455: do not come back unchanged",
            Self::Binary => "frames are text here: do not come back unchanged",
            Self::NotUtf8 => "text must be UTF-8: do not come back unchanged",
            Self::TooBig => "the frame is over maxMessageBytes: do not come back unchanged",
            Self::Internal => "the server failed: come back with back-off, resuming by seq",
            Self::Drained => "this node stops: come back, resuming by seq",
            Self::Token => "the token is no longer good: come back with a new one",
            Self::Disabled => "the account is disabled",
            Self::Silent => "nothing was heard from you: come back, resuming by seq",
            Self::TooMuch => "too much: come back with back-off",
            Self::SlowReader => "you read too slowly: come back, resuming by seq",
        }
    }

    /// The label of `parlor_sessions_closed_total`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ProtocolError => "protocol_error",
            Self::Binary => "binary",
            Self::NotUtf8 => "not_utf8",
            Self::TooBig => "too_big",
            Self::Internal => "internal",
            Self::Drained => "drained",
            Self::Token => "token",
            Self::Disabled => "disabled",
            Self::Silent => "silent",
            Self::TooMuch => "too_much",
            Self::SlowReader => "slow_reader",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_a_close_frame() {
        for close in Close::ALL {
            assert!(close.reason().len() <= 123, "{close:?}");
        }
    }
}
