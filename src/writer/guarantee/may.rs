//! What may come of a fault: the set that a checker compares its findings with.

use std::fmt;

use serde::{Serialize, Serializer};

/// One way in which what is stored may differ from what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Something is neither stored nor kept as a dead letter, and will not be.
    Lost,
    /// Something is there twice.
    Duplicated,
    /// An older value stands where a newer one was.
    OlderOnTop,
    /// It comes later than it otherwise would, if a person has to act not before that.
    Delayed,
}

impl Effect {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Duplicated, Self::OlderOnTop, Self::Delayed];

    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::OlderOnTop => "older on top",
            Self::Delayed => "delayed",
        }
    }
}

/// Which effects may come of something; what is not in it is excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct May(u8);

impl May {
    /// Nothing: what is stored is as if it had not happened.
    pub const NOTHING: Self = Self(0);

    /// One effect alone.
    pub const fn only(effect: Effect) -> Self {
        Self(1 << effect as u8)
    }

    /// With what another has.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With an effect, where that holds.
    #[must_use]
    pub const fn with(self, effect: Effect, holds: bool) -> Self {
        if holds { self.or(Self::only(effect)) } else { self }
    }

    /// Whether an effect may come of it.
    pub const fn has(self, effect: Effect) -> bool {
        self.0 & Self::only(effect).0 != 0
    }

    /// Its effects, the worst first.
    pub fn effects(self) -> impl Iterator<Item = Effect> {
        Effect::ALL.into_iter().filter(move |effect| self.has(*effect))
    }
}

impl fmt::Display for May {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effects: Vec<&str> = self.effects().map(Effect::as_str).collect();
        f.write_str(if effects.is_empty() { "nothing".to_owned() } else { effects.join(", ") }.as_str())
    }
}

impl Serialize for May {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.effects())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_into_it_and_shows_the_worst_first() {
        let may = May::NOTHING.with(Effect::Delayed, true).with(Effect::Lost, true).with(Effect::Duplicated, false);
        assert_eq!(may.to_string(), "lost, delayed");
        assert_eq!(serde_json::to_string(&may).expect("JSON"), r#"["lost","delayed"]"#);
        assert_eq!(May::NOTHING.to_string(), "nothing");
        for effect in Effect::ALL {
            assert!(May::only(effect).effects().eq([effect]));
        }
    }
}
