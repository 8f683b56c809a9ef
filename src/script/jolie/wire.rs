//! What goes between a worker and its Java process: frames of a length (four bytes, big-endian) and a body, whose first
//! byte says what it is. The other end, `java/src/parlor/jolie/Host.java`, is not believed.

/// The longest answer beside what was printed, in bytes.
const WORDS_BYTES: usize = 64 * 1024;
/// Bytes of an answer's numbers: kind, status, flag, line, column, heap, two lengths.
const NUMBERS_BYTES: usize = 3 + 4 + 4 + 8 + 4 + 4;
/// Says that the interpreter is warm.
pub const READY: [u8; 5] = [0, 0, 0, 1, 0];

const RUN: u8 = 1;
const CHECK: u8 = 2;

/// From the worker.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// Make a run.
    Run {
        /// The script.
        source: &'a str,
        /// What it finds in `args[0]`.
        argument: &'a str,
        /// The time of day for it, in milliseconds since 1970.
        clock: i64,
        /// What random numbers begin with.
        seed: u64,
        /// The most that it may print.
        output_bytes: u32,
    },
    /// See whether it compiles.
    Check {
        /// The script.
        source: &'a str,
    },
}

impl Question<'_> {
    /// As a frame.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match *self {
            Self::Run { source, argument, clock, seed, output_bytes } => {
                body.push(RUN);
                body.extend(clock.to_be_bytes());
                body.extend(seed.to_be_bytes());
                body.extend(output_bytes.min(i32::MAX as u32).to_be_bytes());
                text(source, &mut body);
                text(argument, &mut body);
            }
            Self::Check { source } => {
                body.push(CHECK);
                text(source, &mut body);
            }
        }
        let mut frame = length(body.len());
        frame.append(&mut body);
        frame
    }

    /// The longest frame that may answer it, in bytes.
    #[must_use]
    pub fn longest_answer(&self) -> usize {
        let printed = match *self {
            Self::Run { output_bytes, .. } => output_bytes as usize,
            Self::Check { .. } => 0,
        };
        NUMBERS_BYTES + WORDS_BYTES + printed
    }
}

fn length(bytes: usize) -> Vec<u8> {
    // What goes there is bounded by the frames of the server, 32 MiB.
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes().to_vec()
}

fn text(text: &str, body: &mut Vec<u8>) {
    body.append(&mut length(text.len()));
    body.extend_from_slice(text.as_bytes());
}

/// How a run or a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It came to its end.
    Done,
    /// By a fault that the script did not handle.
    Fault,
    /// The source does not compile.
    Refused,
    /// It printed too much.
    Output,
}

/// From Java.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub status: Status,
    /// Something of it stayed: that Java is not to be used again.
    pub spoilt: bool,
    /// Where, from 1; 0 when that is not known.
    pub line: i32,
    /// Where in the line, from 1; 0 when that is not known.
    pub column: i32,
    /// Heap in use, in bytes.
    pub heap_bytes: u64,
    /// What is to be said of it.
    pub words: String,
    /// What was printed.
    pub printed: Vec<u8>,
}

/// The body of a frame that answers `question`, when all of it is there.
///
/// # Errors
/// In words, how it breaks the rules.
pub fn body<'a>(read: &'a [u8], question: &Question<'_>) -> Result<Option<&'a [u8]>, String> {
    let Some((head, rest)) = read.split_first_chunk::<4>() else { return Ok(None) };
    let (length, most) = (u32::from_be_bytes(*head) as usize, question.longest_answer());
    if length > most {
        return Err(format!("an answer of {length} bytes, at most {most} are allowed"));
    }
    match rest.get(..length) {
        Some(_) if rest.len() > length => Err("more than an answer".to_owned()),
        found => Ok(found),
    }
}

impl Answer {
    /// Reads it. `None`: it is none.
    #[must_use]
    pub fn read(body: &[u8], question: &Question<'_>) -> Option<Self> {
        let mut body = Body(body);
        let kind = match question {
            Question::Run { .. } => RUN,
            Question::Check { .. } => CHECK,
        };
        if body.number::<1>()? != [kind] {
            return None;
        }
        let status = match body.number()? {
            [0] => Status::Done,
            [1] => Status::Fault,
            [2] => Status::Refused,
            [3] => Status::Output,
            _ => return None,
        };
        let spoilt = body.number()? != [0];
        let (line, column) = (i32::from_be_bytes(body.number()?), i32::from_be_bytes(body.number()?));
        let heap_bytes = u64::from_be_bytes(body.number()?);
        let words = String::from_utf8_lossy(body.bytes()?).into_owned();
        let printed = body.bytes()?.to_vec();
        body.0.is_empty().then_some(Self { status, spoilt, line, column, heap_bytes, words, printed })
    }
}

/// What of a body is yet to be read.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*number)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.number()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK_ONE: Question<'_> = Question::Check { source: "main {}" };

    fn answered(printed: &[u8]) -> Vec<u8> {
        let mut body = vec![CHECK, 2, 1];
        body.extend(7_i32.to_be_bytes());
        body.extend(9_i32.to_be_bytes());
        body.extend(5_u64.to_be_bytes());
        text("oh", &mut body);
        body.append(&mut length(printed.len()));
        body.extend_from_slice(printed);
        body
    }

    #[test]
    fn an_answer_is_read_and_one_that_lacks_a_byte_or_has_one_too_many_is_none() {
        let body = answered(b"x");
        let read = Answer::read(&body, &CHECK_ONE).unwrap();
        assert_eq!((read.status, read.spoilt, read.line, read.column), (Status::Refused, true, 7, 9));
        assert_eq!((read.heap_bytes, read.words.as_str(), read.printed.as_slice()), (5, "oh", &b"x"[..]));
        for length in 0..body.len() {
            assert_eq!(Answer::read(&body[..length], &CHECK_ONE), None, "{length}");
        }
        let longer = [&body[..], b"y"].concat();
        assert_eq!(Answer::read(&longer, &CHECK_ONE), None);
        let run = Question::Run { source: "", argument: "", clock: 0, seed: 0, output_bytes: 0 };
        assert_eq!(Answer::read(&body, &run), None, "an answer to something else");
    }

    #[test]
    fn a_frame_may_be_as_long_as_the_question_allows_and_no_longer() {
        let run = Question::Run { source: "", argument: "", clock: 0, seed: 0, output_bytes: 100 };
        assert_eq!(run.longest_answer(), CHECK_ONE.longest_answer() + 100);
        for (over, fine) in [(0, true), (1, false)] {
            let head = length(run.longest_answer() + over);
            assert_eq!(body(&head, &run).is_ok(), fine);
        }
        assert_eq!(body(&[0, 0, 0, 1], &run), Ok(None), "it may come yet");
        assert_eq!(body(&[0, 0, 0, 1, 7], &run), Ok(Some(&[7][..])));
        assert!(body(&[0, 0, 0, 1, 7, 7], &run).is_err());
    }

    #[test]
    fn a_question_begins_with_its_length_and_its_kind() {
        let frame = CHECK_ONE.frame();
        assert_eq!(frame[..9], [0, 0, 0, 12, CHECK, 0, 0, 0, 7]);
        assert_eq!(&frame[9..], b"main {}");
    }
}
