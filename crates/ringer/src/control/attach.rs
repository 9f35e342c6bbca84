//! A peer on the guest's console: output from what is kept on, and keys for the guest.

use std::sync::Arc;
use std::time::Duration;

use ringer_machine::board::Board;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::console::Console;

/// How often a guest that takes no keys is asked again.
const RETRY: Duration = Duration::from_millis(50);

/// The console that peers attach to.
#[derive(Clone)]
pub struct Attachable {
    /// The console.
    pub console: Arc<Console>,
    /// Its devices are told of keys.
    pub board: Arc<Board>,
    /// Keys reach the guest. Not if the run must not depend on when they come.
    pub takes_keys: bool,
}

impl Attachable {
    /// Serves one peer until it goes or the machine ends.
    pub async fn serve(self, reader: impl AsyncRead + Unpin, writer: impl AsyncWrite + Unpin) {
        tokio::select! {
            () = self.show(writer) => {}
            () = self.listen(reader) => {}
        }
    }

    async fn show(&self, mut writer: impl AsyncWrite + Unpin) {
        let history = self.console.history();
        let mut watch = history.watch();
        let mut place = history.first();
        loop {
            watch.mark_unchanged();
            let piece = history.since(place);
            if piece.missed > 0 {
                let note = format!("\r\n[{} bytes of output missed]\r\n", piece.missed);
                if writer.write_all(note.as_bytes()).await.is_err() {
                    return;
                }
            }
            place = piece.end;
            let goes_on = if !piece.bytes.is_empty() {
                writer.write_all(&piece.bytes).await.is_ok()
            } else if history.is_closed() {
                let _ = writer.shutdown().await;
                false
            } else {
                watch.changed().await.is_ok()
            };
            if !goes_on {
                return;
            }
        }
    }

    async fn listen(&self, mut reader: impl AsyncRead + Unpin) {
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = reader.read(&mut chunk).await {
            let mut keys = chunk.get(..len).unwrap_or_default();
            while self.takes_keys && !keys.is_empty() {
                let taken = self.console.type_some(keys, Duration::ZERO);
                keys = keys.get(taken..).unwrap_or_default();
                self.board.poll();
                if !keys.is_empty() {
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}
