//! Statements of SQL files, as words: enough to find what a migration does, without a parser of SQL.

/// Statement without comments, in upper case, and the line that it begins on.
#[derive(Clone, Debug)]
pub struct Statement {
    words: Vec<String>,
    line: usize,
}

impl Statement {
    /// Returns whether these words follow one another somewhere.
    #[must_use]
    pub fn has(&self, words: &str) -> bool {
        self.position(words).is_some()
    }

    #[must_use]
    pub fn begins(&self, words: &str) -> bool {
        self.position(words) == Some(0)
    }

    fn position(&self, words: &str) -> Option<usize> {
        let wanted: Vec<&str> = words.split(' ').collect();
        let mut windows = self.words.windows(wanted.len());
        windows.position(|window| window == wanted)
    }

    /// Returns the word after these.
    #[must_use]
    pub fn after(&self, words: &str) -> Option<&str> {
        let at = self.position(words)? + words.split(' ').count();
        self.words.get(at).map(String::as_str)
    }

    /// Returns the table that an index is built on.
    #[must_use]
    pub fn indexed_table(&self) -> Option<&str> {
        self.after("ON ONLY").or_else(|| self.after("ON"))
    }

    /// Returns the actions of an `ALTER TABLE`: parts separated by commas outside of parentheses.
    #[must_use]
    pub fn actions(&self) -> Vec<Self> {
        let mut depth = 0_i32;
        let parts = self.words.split(|word| {
            match word.as_str() {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            word == "," && depth == 0
        });
        let action = |words: &[String]| Self {
            words: words.to_vec(),
            line: self.line,
        };
        parts.map(action).collect()
    }

    /// Returns the line of its file, from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// Returns the table that a `CREATE TABLE` creates.
    #[must_use]
    pub fn created_table(&self) -> Option<&str> {
        let named = || {
            let after = self.after("CREATE TABLE IF NOT EXISTS");
            after.or_else(|| self.after("CREATE TABLE"))
        };
        self.begins("CREATE TABLE").then(named).flatten()
    }

    /// Returns the table that an `ALTER TABLE` changes.
    #[must_use]
    pub fn altered_table(&self) -> Option<&str> {
        let mut words = self.words.iter().skip(2).map(String::as_str);
        let name = words.find(|word| !["IF", "EXISTS", "ONLY"].contains(word));
        self.begins("ALTER TABLE").then_some(name).flatten()
    }

    /// Returns its first words.
    #[must_use]
    pub fn beginning(&self, words: usize) -> String {
        let end = self.words.len().min(words);
        self.words[..end].join(" ")
    }
}

/// Returns the statements of a file. Comments, strings and bodies of functions are left out.
#[must_use]
pub fn statements(text: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut begins = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let line = 1 + text[..text.len() - rest.len()].matches('\n').count();
        let length = match first {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '\'' => quoted(rest, "'"),
            '$' => match rest[1..].find('$') {
                Some(tag) => quoted(rest, &rest[..tag + 2]),
                None => 1,
            },
            ';' => {
                if !words.is_empty() {
                    statements.push(Statement {
                        words: std::mem::take(&mut words),
                        line: begins,
                    });
                }
                1
            }
            _ if is_word(first) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                if words.is_empty() {
                    begins = line;
                }
                words.push(rest[..length].to_uppercase());
                length
            }
            _ => {
                if "(),".contains(first) {
                    words.push(first.to_string());
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    if !words.is_empty() {
        statements.push(Statement {
            words,
            line: begins,
        });
    }
    statements
}

/// The length of a text between two of these marks, marks included.
fn quoted(text: &str, mark: &str) -> usize {
    let inside = &text[mark.len()..];
    inside
        .find(mark)
        .map_or(text.len(), |end| end + 2 * mark.len())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '"'
}
