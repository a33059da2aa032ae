//! Passwords read from standard input.

use std::io::{self, BufRead};

/// Longer than any password, so that input without a line ending is not read to its end.
const LONGEST_LINE: u64 = 8 * 1024;

/// Reads the first line of `input`, without its line ending and the byte order mark of some shells.
pub fn read_password(input: impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = String::from_utf8(line.to_vec());
    // The library's error contains the input.
    text.map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the password must be UTF-8 text",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_without_mark_and_line_ending() {
        for (input, password) in [
            (&b"correct horse\n"[..], "correct horse"),
            (b"correct horse", "correct horse"),
            (b"\xef\xbb\xbfcorrect horse\r\n", "correct horse"),
            (b" correct horse \r\nmore\n", " correct horse "),
            (b"Z\xc3\xbcrich\n", "Z\u{fc}rich"),
            // One mark and one ending: what else looks like them is part of the password.
            (b"\xef\xbb\xbf\xef\xbb\xbfa\r\r\n", "\u{feff}a\r"),
            (b"", ""),
            (b"\n", ""),
        ] {
            let read = read_password(input).expect("it is text");
            assert_eq!(read, password, "{input:?}");
        }
    }

    #[test]
    fn a_password_in_another_encoding_is_refused_without_showing_it() {
        for input in [
            // UTF-16 with its mark, as PowerShell redirects it, and Latin-1.
            &b"\xff\xfec\0o\0r\0r\0e\0c\0t\0\n\0"[..],
            b"Z\xfcrich\n",
            b"\xc3",
        ] {
            let error = read_password(input).expect_err("it is not UTF-8");
            assert_eq!(error.to_string(), "the password must be UTF-8 text");
        }
    }
}
