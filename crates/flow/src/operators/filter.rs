use crate::{Operator, Step};
use regex_lite::Regex;
use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Field, FieldKind, Schema, Value};
use std::cmp::Ordering;

/// Keeps records for which every term holds: `field==value`, joined by commas; the operators are
/// `==`, `!=`, `>=`, `>`, `<=`, `<`, and `~` for a regular expression anywhere in the text.
#[derive(Debug)]
pub struct Filter {
    terms: Vec<Term>,
    bound: Vec<(Field, Test)>,
}

#[derive(Debug)]
struct Term {
    field: String,
    comparison: Comparison,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    AtLeast,
    Above,
    AtMost,
    Below,
    Matches,
}

/// Longer spellings first: `>=` must not be read as `>`.
const SPELLINGS: [(&str, Comparison); 7] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    (">", Comparison::Above),
    ("<", Comparison::Below),
    ("~", Comparison::Matches),
];

#[derive(Debug)]
enum Test {
    Value(Comparison, Value<'static>),
    Regex(Regex),
}

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// `Usage` if a term has no operator or no field.
    pub fn new(expression: &str) -> Result<Self> {
        let terms = expression.split(',').map(term).collect::<Result<_>>()?;
        Ok(Self { terms, bound: Vec::new() })
    }

    /// The fields that it looks at.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|term| term.field.as_str())
    }
}

fn term(text: &str) -> Result<Term> {
    let found = SPELLINGS
        .iter()
        .filter_map(|&(spelling, comparison)| text.find(spelling).map(|at| (at, spelling, comparison)))
        .min_by_key(|&(at, spelling, _)| (at, std::cmp::Reverse(spelling.len())));
    match found {
        Some((at, spelling, comparison)) if !text[..at].trim().is_empty() => Ok(Term {
            field: text[..at].trim().to_owned(),
            comparison,
            text: text[at + spelling.len()..].trim().to_owned(),
        }),
        _ => Err(Error::new(Kind::Usage, format!("\"{text}\" is no filter term"))
            .help("say for example duration_ns>1000000,comm==nginx; operators are == != >= > <= < ~")),
    }
}

fn constant(field: &Field, text: &str) -> Result<Value<'static>> {
    let bad = |what: &str| Error::new(Kind::Usage, format!("{} is {what}, \"{text}\" is not", field.name));
    let digits = text.strip_prefix("0x");
    use FieldKind::*;
    Ok(match field.kind {
        Bool => Value::Bool(text.parse().map_err(|_| bad("true or false"))?),
        Int8 | Int16 | Int32 | Int64 => Value::Int(text.parse().map_err(|_| bad("a number"))?),
        Uint8 | Uint16 | Uint32 | Uint64 => {
            let number = digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
            Value::Uint(number.map_err(|_| bad("a number, not negative"))?)
        }
        Float32 | Float64 => Value::Float(text.parse().map_err(|_| bad("a number"))?),
        String | CString => Value::Str(text.to_owned().into()),
        Bytes => return Err(Error::new(Kind::Usage, format!("{} holds raw bytes and cannot be compared", field.name))),
    })
}

impl Test {
    fn holds(&self, value: &Value<'_>) -> bool {
        let (comparison, wanted) = match self {
            Self::Regex(regex) => return regex.is_match(&value.to_string()),
            Self::Value(comparison, wanted) => (comparison, wanted),
        };
        let Some(order) = value.compare(wanted) else { return false };
        match comparison {
            Comparison::Equal => order == Ordering::Equal,
            Comparison::NotEqual => order != Ordering::Equal,
            Comparison::AtLeast => order != Ordering::Less,
            Comparison::Above => order == Ordering::Greater,
            Comparison::AtMost => order != Ordering::Greater,
            Comparison::Below => order == Ordering::Less,
            Comparison::Matches => false,
        }
    }
}

impl Operator for Filter {
    fn name(&self) -> &str {
        "where"
    }

    fn bind(&mut self, schema: &mut Schema) -> Result<()> {
        self.bound.clear();
        for term in &self.terms {
            let field = schema.fields()[schema.require(&term.field)?].clone();
            let test = if term.comparison == Comparison::Matches {
                let bad = |error| Error::wrap(Kind::Usage, error).context(format!("reading the pattern {}", term.text));
                Test::Regex(Regex::new(&term.text).map_err(bad)?)
            } else {
                Test::Value(term.comparison, constant(&field, &term.text)?)
            };
            self.bound.push((field, test));
        }
        Ok(())
    }

    fn process(&mut self, _: &Schema, batch: &mut Batch<'_>) -> Result<Step> {
        for (field, test) in &self.bound {
            let mut selection = std::mem::take(batch.selection_mut());
            // The batch's length is its selection's: put a copy back while records are read.
            batch.selection_mut().clone_from(&selection);
            selection.retain(|index| test.holds(&batch.value(index, field)));
            *batch.selection_mut() = selection;
        }
        Ok(Step::Next)
    }
}
