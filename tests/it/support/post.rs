//! A minimal SMTP server that stores the emails it receives.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// An SMTP server of one test.
pub struct Post {
    pub url: String,
    letters: mpsc::Receiver<Letter>,
    refusals: Arc<AtomicU32>,
}

/// An email as received.
#[derive(Debug)]
pub struct Letter {
    pub to: String,
    /// Its headers and its body.
    pub text: String,
}

impl Letter {
    /// The token of the link in it.
    pub fn token(&self) -> String {
        token(&self.text)
    }
}

/// The token of the link in `text`.
pub fn token(text: &str) -> String {
    let rest = text.split("#token=").nth(1).unwrap_or_else(|| panic!("no link in {text}"));
    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect()
}

impl Post {
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("smtp://{}", listener.local_addr().expect("an address"));
        let (send, letters) = mpsc::channel();
        let refusals = Arc::new(AtomicU32::new(0));
        let refused = refusals.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (send, refused) = (send.clone(), refused.clone());
                // A closed connection ends its thread.
                std::thread::spawn(move || drop(serve(stream, &send, &refused)));
            }
        });
        Self { url, letters, refusals }
    }

    /// Rejects the next `times` emails with a temporary error.
    pub fn refuse(&self, times: u32) {
        self.refusals.store(times, Ordering::SeqCst);
    }

    /// Waits for the next email.
    pub fn next(&self) -> Letter {
        self.letters.recv_timeout(Duration::from_secs(20)).expect("a letter")
    }

    /// Fails if an email arrives, now or in a moment.
    pub fn expect_none(&self) {
        let letter = self.letters.recv_timeout(Duration::from_millis(400));
        assert!(letter.is_err(), "nobody should be written to: {letter:?}");
    }
}

fn serve(mut stream: TcpStream, send: &mpsc::Sender<Letter>, refusals: &AtomicU32) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut to = String::new();
    stream.write_all(b"220 post ESMTP\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        let answer = match line.to_ascii_uppercase() {
            command if command.starts_with("MAIL FROM") => {
                let left = refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if left.is_ok() { "451 later" } else { "250 good" }
            }
            command if command.starts_with("RCPT TO") => {
                to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                "250 good"
            }
            command if command == "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                let text: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| line != ".").collect();
                let (head, body) = text.split_at(text.iter().position(String::is_empty).expect("a body"));
                let body = STANDARD.decode(body.concat()).expect("base64");
                let body = String::from_utf8(body).expect("UTF-8").replace("\r\n", "\n");
                let _ = send.send(Letter { to: to.clone(), text: format!("{}\n\n{body}", head.join("\n")) });
                "250 taken"
            }
            command if command == "QUIT" => "221 bye",
            _ => "250 good",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}
