//! When a node has more than its share of sockets, because others were away or are new: how many it lets go, and when.

use std::time::{Duration, Instant};

use crate::config::cluster::ClusterOptions;

/// Shedding begins when a node has more than this share of the even one, in percent, …
const MUCH: usize = 120;
/// … or when another has less than this one: where there are many nodes, a new one makes none of them much too full.
const LITTLE: usize = 80;
/// It is done when what is above even could not take more than a twentieth of even from the one that has least. That is well
/// within the tenth that is promised, and far from where shedding begins.
const LEFT: usize = 20;
/// Less than this between a node and the emptiest is nothing to bother clients for.
const LEAST: usize = 10;
/// For how long it must have been too many: a node that has just started will get many by itself.
const SETTLE: Duration = Duration::from_secs(5);
/// How long nothing is shed after it was done: those who went are still arriving elsewhere.
const REST: Duration = Duration::from_secs(10);

/// What the nodes that serve sockets have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Sessions here.
    pub(super) here: usize,
    /// Sessions on all of those nodes, here included.
    pub(super) everywhere: usize,
    /// How many nodes those are, this one included.
    pub(super) nodes: usize,
    /// What the node has that has least.
    pub(super) least: usize,
}

impl Load {
    fn even(self) -> usize {
        self.everywhere.div_ceil(self.nodes.max(1))
    }

    /// What is here above even, when it is worth a word.
    fn surplus(self) -> usize {
        let even = self.even();
        let nothing = even / (LEFT * self.nodes.saturating_sub(1).max(1));
        if self.here > even + nothing { self.here - even } else { 0 }
    }

    fn is_uneven(self) -> bool {
        let even = self.even();
        let far = self.here * 100 > even * MUCH || self.least * 100 < even * LITTLE;
        self.nodes > 1 && far && self.surplus() > 0 && self.here >= self.least + LEAST
    }
}

/// Decides each second how many go. What is shed and what is not has a distance between, so it never swings to and fro.
#[derive(Debug, Default)]
pub(super) struct Shedder {
    state: State,
    /// What a rate below one a step has left over.
    owed: f64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Balanced,
    /// Too many since then.
    Over(Instant),
    /// With so many sessions on all nodes at most, since it began: those that are between two nodes are on none of them, and
    /// must not make the share of each seem smaller.
    Shedding(usize),
    /// Nothing is shed before then.
    Resting(Instant),
}

impl Shedder {
    /// How many sessions to hand over now, `step` after the last time it was asked.
    pub(super) fn next(&mut self, mut load: Load, now: Instant, step: Duration, options: &ClusterOptions) -> usize {
        if let State::Shedding(most) = &mut self.state {
            *most = load.everywhere.max(*most);
            load.everywhere = *most;
        }
        let (surplus, too_many) = (load.surplus(), load.is_uneven());
        match self.state {
            State::Balanced if too_many => self.state = State::Over(now),
            State::Over(_) if !too_many => self.state = State::Balanced,
            State::Over(since) if now.saturating_duration_since(since) >= SETTLE => {
                self.state = State::Shedding(load.everywhere)
            }
            State::Resting(until) if now >= until => self.state = State::Balanced,
            State::Shedding(_) if surplus == 0 => self.state = State::Resting(now + REST),
            State::Balanced | State::Over(_) | State::Shedding(_) | State::Resting(_) => {}
        }
        if !matches!(self.state, State::Shedding(_)) {
            self.owed = 0.0;
            return 0;
        }
        self.owed += f64::from(options.shed_per_second) * step.as_secs_f64();
        let go = (self.owed as usize).min(surplus);
        self.owed -= go as f64;
        go
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    fn options(shed_per_second: u32) -> ClusterOptions {
        ClusterOptions { shed_per_second, ..ClusterOptions::default() }
    }

    /// Plays nodes whose clients come back to whoever `choose` says, so many seconds after they were told. Returns the sessions
    /// each second.
    fn play(
        mut sessions: Vec<usize>,
        seconds: u64,
        away: usize,
        mut choose: impl FnMut(&[usize]) -> usize,
    ) -> Vec<Vec<usize>> {
        let start = Instant::now();
        let mut shedders: Vec<Shedder> = sessions.iter().map(|_| Shedder::default()).collect();
        let mut between = VecDeque::from(vec![0; away]);
        let mut history = Vec::new();
        for second in 0..seconds {
            let everywhere = sessions.iter().sum();
            let now = start + STEP * u32::try_from(second).unwrap();
            let (nodes, least) = (sessions.len(), *sessions.iter().min().unwrap());
            let mut told = 0;
            for (here, shedder) in sessions.iter_mut().zip(&mut shedders) {
                let go = shedder.next(Load { here: *here, everywhere, nodes, least }, now, STEP, &options(50));
                *here -= go;
                told += go;
            }
            between.push_back(told);
            for _ in 0..between.pop_front().unwrap() {
                let to = choose(&sessions);
                sessions[to] += 1;
            }
            history.push(sessions.clone());
        }
        history
    }

    fn least(sessions: &[usize]) -> usize {
        (0..sessions.len()).min_by_key(|n| sessions[*n]).unwrap()
    }

    #[test]
    fn a_new_node_gets_its_share_and_then_nothing_moves_any_more() {
        for (before, within) in [(vec![1000; 2], 60), (vec![300; 10], 60), (vec![5000; 2], 180)] {
            let mut turn = 0;
            let in_turn = |sessions: &[usize]| {
                turn += 1;
                turn % sessions.len()
            };
            for choose in [Box::new(least) as Box<dyn FnMut(&[usize]) -> usize>, Box::new(in_turn)] {
                let nodes: Vec<usize> = before.iter().copied().chain([0]).collect();
                let share = nodes.iter().sum::<usize>() / nodes.len();
                let history = play(nodes, within + 60, 0, choose);
                for second in history.iter().skip(usize::try_from(within).unwrap()) {
                    assert!(second.iter().all(|here| here.abs_diff(share) * 10 <= share + 10), "{share}: {second:?}");
                }
                let last = history.last().unwrap();
                assert!(history.iter().rev().take(30).all(|second| second == last), "it swings: {last:?}");
            }
        }
    }

    #[test]
    fn clients_that_take_seconds_to_come_back_are_not_taken_for_gone() {
        let mut moves = 0;
        let history = play(vec![120, 120, 0], 40, 5, |sessions| {
            moves += 1;
            least(sessions)
        });
        assert_eq!((moves, history.last().unwrap()), (80, &vec![80; 3]));
    }

    #[test]
    fn nothing_is_shed_within_a_fifth_of_even_nor_for_a_handful_nor_by_a_node_alone() {
        for nodes in [vec![120, 80], vec![100, 100], vec![9, 0], vec![5000]] {
            let history = play(nodes.clone(), 60, 0, least);
            assert_eq!(history.last().unwrap(), &nodes);
        }
        assert_ne!(play(vec![121, 79], 60, 0, least).last().unwrap(), &[121, 79]);
    }

    #[test]
    fn a_surplus_that_passes_by_itself_is_left_alone() {
        let (mut shedder, start) = (Shedder::default(), Instant::now());
        for second in 0..20 {
            let here = if second % 5 == 4 { 100 } else { 200 };
            let load = Load { here, everywhere: 200, nodes: 2, least: 200 - here };
            assert_eq!(shedder.next(load, start + STEP * second, STEP, &options(50)), 0);
        }
    }

    #[test]
    fn a_slow_rate_is_kept_over_the_seconds() {
        let (mut shedder, start) = (Shedder::default(), Instant::now());
        let load = Load { here: 1000, everywhere: 1000, nodes: 2, least: 0 };
        let half = Duration::from_millis(500);
        let gone: usize = (0..80).map(|n| shedder.next(load, start + half * n, half, &options(1))).sum();
        // 40 seconds, of which the first five and a half settle.
        assert!((33..=36).contains(&gone), "{gone}");
    }
}
