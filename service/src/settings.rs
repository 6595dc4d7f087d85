//! How a setting appears on the command line and in the environment, and how its faults are told. Which settings there are, and what a
//! good value is, each server says itself.

use std::fmt;
use std::process::ExitCode;

use clap::{Arg, ArgAction};

/// What the command line has to know of one setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What every variable of the program begins with: `AUTH_SERVER_`.
    pub prefix: &'static str,
    /// Its name in the file: `listen`, or `group.name`.
    pub name: &'static str,
    /// What stands for its value in the help.
    pub value: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it takes several values.
    pub list: bool,
}

impl Setting {
    /// `--lifetimes-code` without its dashes.
    pub fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// `AUTH_SERVER_LIFETIMES_CODE`.
    pub fn variable(&self) -> String {
        format!("{}{}", self.prefix, self.name.replace('.', "_").to_uppercase())
    }

    /// The argument's id, which no argument of a command can have.
    pub fn id(&self) -> String {
        format!("setting {}", self.name)
    }

    /// Its group in the help.
    fn heading(&self) -> String {
        match self.name.split_once('.') {
            Some((group, _)) => format!("Settings [{group}]"),
            None => "Settings".into(),
        }
    }

    /// Its argument; `default` is what the help says it is when absent.
    pub fn argument(&self, default: Option<&str>) -> Arg {
        let default = default.map(|value| format!(" [default: {value}]")).unwrap_or_default();
        let arg = Arg::new(self.id())
            .long(self.flag())
            .env(self.variable())
            .hide_env_values(true)
            .value_name(self.value)
            .help(format!("{}{default}", self.help))
            .help_heading(self.heading());
        if self.list {
            arg.action(ArgAction::Append).value_delimiter(',')
        } else {
            arg.action(ArgAction::Set)
        }
    }
}

/// What is wrong with a setting. It never repeats the value: that may be a secret put in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    place: String,
    fault: String,
}

impl ConfigFault {
    /// `place` is where the value stood, `fault` completes the sentence.
    pub fn new(place: impl Into<String>, fault: impl Into<String>) -> Self {
        Self { place: place.into(), fault: fault.into() }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

/// Why nothing was started.
#[derive(Debug)]
pub enum Refusal {
    /// The arguments do not parse, or they ask for help.
    Usage(clap::Error),
    /// Settings do not hold; every fault is here.
    Faults(Vec<ConfigFault>),
}

impl Refusal {
    /// Prints it in the name of `program`. Status 2; 0 when only help was asked for.
    #[expect(
        clippy::print_stderr,
        reason = "the log is not set up yet: its form is one of the settings"
    )]
    pub fn report(&self, program: &str) -> ExitCode {
        match self {
            Self::Usage(error) => {
                let printed = error.print();
                ExitCode::from(if error.use_stderr() || printed.is_err() { 2 } else { 0 })
            }
            Self::Faults(faults) => {
                for fault in faults {
                    eprintln!("{program}: {fault}");
                }
                ExitCode::from(2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_variable_and_group_follow_from_the_name() {
        let setting = Setting {
            prefix: "HOUSE_",
            name: "doors.back_door",
            value: "N",
            help: "Which",
            list: false,
        };
        assert_eq!(setting.flag(), "doors-back-door");
        assert_eq!(setting.variable(), "HOUSE_DOORS_BACK_DOOR");
        let arg = setting.argument(Some("2"));
        assert_eq!(arg.get_help().unwrap().to_string(), "Which [default: 2]");
        assert_eq!(arg.get_help_heading(), Some("Settings [doors]"));
    }
}
