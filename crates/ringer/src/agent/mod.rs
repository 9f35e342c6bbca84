//! The host's side of the agent: a shell script in the guest (guests/agent) that says when the
//! guest is ready, and runs a command for `ringer test`.

mod channel;

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use ringer_machine::board::Board;
use ringer_machine::virtio::{Port, Ports};

use crate::run::Event;
use channel::Channel;

/// A line from the agent is not longer; it says a word and a number.
const LONGEST_LINE: usize = 100;

/// What the agent is there for in this run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Task {
    /// Nothing: the machine has the channels for when it is restored.
    None,
    /// When the guest is ready, and has run this shell script, the machine is saved here.
    Prepare {
        /// The script.
        script: Option<String>,
        /// Where.
        place: PathBuf,
    },
    /// Run this shell script.
    Run(String),
}

/// News from the agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// The guest is ready to run something.
    Ready,
    /// The command ended with this status.
    Ended(u8),
    /// Nobody reads what the command writes.
    NobodyListens,
}

/// The channels to the agent.
#[derive(Clone, Default)]
pub struct Agent {
    control: Channel,
    stdin: Channel,
    stdout: Channel,
    stderr: Channel,
}

impl Agent {
    /// The device by which the guest has them.
    pub fn device(&self) -> Ports {
        let port = |name, channel: &Channel| Port {
            name,
            backend: Box::new(channel.clone()),
        };
        Ports::new([
            port("ringer.control", &self.control),
            port("ringer.stdin", &self.stdin),
            port("ringer.stdout", &self.stdout),
            port("ringer.stderr", &self.stderr),
        ])
    }

    /// Starts to do what the agent is there for; news comes as events.
    pub fn start(&self, task: &Task, board: &Arc<Board>, events: &Sender<Event>) {
        let script = match task {
            Task::None => return,
            Task::Prepare { script, .. } => script.as_ref(),
            Task::Run(script) => Some(script),
        };
        let mut pumps = Vec::new();
        if let Some(script) = script {
            self.control.send(&request(script));
            let out = |channel: &Channel, sink: Box<dyn Write + Send>| {
                let (channel, board, events) = (channel.clone(), board.clone(), events.clone());
                thread::spawn(move || pump(&channel, sink, &board, &events))
            };
            pumps.push(out(&self.stdout, Box::new(io::stdout())));
            pumps.push(out(&self.stderr, Box::new(io::stderr())));
            self.pass_input(Arc::clone(board));
            board.poll();
        }
        let (agent, events, board) = (self.clone(), events.clone(), Arc::clone(board));
        thread::spawn(move || {
            while let Some(line) = agent.line(&board) {
                let news = match line.split_once(' ') {
                    None if line == "ready" => News::Ready,
                    Some(("exit", status)) => {
                        // All that the command wrote was there before this line; now it is to
                        // reach its destination.
                        agent.stdout.close();
                        agent.stderr.close();
                        for pump in pumps.drain(..) {
                            let _ = pump.join();
                        }
                        News::Ended(status.parse().unwrap_or(u8::MAX))
                    }
                    _ => continue,
                };
                if events.send(Event::Agent(news)).is_err() {
                    return;
                }
            }
        });
    }

    /// A line from the agent; `None` if it says something else.
    fn line(&self, board: &Board) -> Option<String> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            if self.control.receive(&mut byte) == 0 || line.len() > LONGEST_LINE {
                return None;
            }
            match byte {
                [b'\n'] => {
                    board.poll();
                    return String::from_utf8(line).ok();
                }
                [byte] => line.push(byte),
            }
        }
    }

    /// Standard input is the command's, unless somebody types there: keys would be echoed by
    /// this terminal, and no line ever end.
    fn pass_input(&self, board: Arc<Board>) {
        let stdin = self.stdin.clone();
        if io::stdin().is_terminal() {
            stdin.end();
            return;
        }
        thread::spawn(move || {
            let mut chunk = [0; 32 << 10];
            let mut source = io::stdin().lock();
            while let Ok(len @ 1..) = source.read(&mut chunk) {
                stdin.send(chunk.get(..len).unwrap_or_default());
                board.poll();
            }
            stdin.end();
            board.poll();
        });
    }
}

/// Brings what the guest writes to its destination.
fn pump(channel: &Channel, mut sink: impl Write, board: &Board, events: &Sender<Event>) {
    let mut chunk = [0; 32 << 10];
    loop {
        let len = channel.receive(&mut chunk);
        let Some(bytes @ [_, ..]) = chunk.get(..len) else {
            return;
        };
        let written = sink.write_all(bytes).and_then(|()| sink.flush());
        if written.is_err() {
            let _ = events.send(Event::Agent(News::NobodyListens));
            return;
        }
        // A writer in the guest may wait for the room.
        board.poll();
    }
}

/// A request to run `script`, in one line, as `printf %b` reads it.
fn request(script: &str) -> Vec<u8> {
    let mut line = b"run ".to_vec();
    for &byte in script.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"_./=,:@+-".contains(&byte) {
            line.push(byte);
        } else {
            line.extend_from_slice(format!("\\0{byte:03o}").as_bytes());
        }
    }
    line.push(b'\n');
    line
}

/// Words as one line for a shell that makes the same words of it.
pub fn quote(words: &[String]) -> String {
    let quoted = words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// By the shell of this computer, which is what the guest's is.
    #[test]
    fn a_shell_gets_the_words_that_were_sent() {
        let words = [
            "printf",
            "%s|",
            "a b",
            "it's",
            "$HOME\n\\0101\\n",
            "ü%b",
            "",
            " ",
        ];
        let words = words.map(str::to_string);
        let line = String::from_utf8(request(&quote(&words))).unwrap();
        assert_eq!(line.lines().count(), 1);
        let program = r#"read -r word rest; [ "$word" = run ] && eval "$(printf %b "$rest")""#;
        let mut child = Command::new("sh")
            .args(["-c", program])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let expected = words[2..].join("|") + "|";
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}
