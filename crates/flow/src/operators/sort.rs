use crate::{Operator, Step};
use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Field, Schema, Value};
use std::cmp::Ordering;

/// Holds every record until the end and lets them go in order. Its memory grows with what it holds.
#[derive(Debug)]
pub struct Sort {
    /// Field name and whether large ones come first.
    keys: Vec<(String, bool)>,
    /// Those fields as they are here: a later operator may put something else in their place.
    bound: Vec<(Field, bool)>,
    held: Vec<Batch<'static>>,
}

impl Sort {
    /// Sorts by fields joined by commas, the first first; `-` before a name puts large values first. Equal records keep
    /// their order.
    ///
    /// # Errors
    /// `Usage` if a name is empty.
    pub fn new(spec: &str) -> Result<Self> {
        let key = |part: &str| {
            let part = part.trim();
            let (name, down) = part.strip_prefix('-').map_or((part, false), |name| (name, true));
            if name.is_empty() {
                let text = format!("\"{spec}\" names no field to sort by");
                return Err(Error::new(Kind::Usage, text).help("say for example -duration_ns,comm"));
            }
            Ok((name.to_owned(), down))
        };
        Ok(Self { keys: spec.split(',').map(key).collect::<Result<_>>()?, bound: Vec::new(), held: Vec::new() })
    }
}

impl Sort {
    /// The fields that it sorts by.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(name, _)| name.as_str())
    }
}

impl Operator for Sort {
    fn name(&self) -> &str {
        "sort"
    }

    fn bind(&mut self, schema: &mut Schema) -> Result<()> {
        let field = |(name, down): &(String, bool)| Ok((schema.fields()[schema.require(name)?].clone(), *down));
        self.bound = self.keys.iter().map(field).collect::<Result<_>>()?;
        Ok(())
    }

    fn process(&mut self, _: &Schema, batch: &mut Batch<'_>) -> Result<Step> {
        self.held.push(batch.compact());
        Ok(Step::Held)
    }

    fn finish(&mut self, _: &Schema) -> Result<Vec<Batch<'static>>> {
        let held = std::mem::take(&mut self.held);
        let fields = &self.bound;
        let mut order: Vec<(Vec<Value<'_>>, usize, usize)> = Vec::new();
        for (at, batch) in held.iter().enumerate() {
            for index in 0..batch.len() {
                order.push((fields.iter().map(|(field, _)| batch.value(index, field)).collect(), at, index));
            }
        }
        order.sort_by(|a, b| {
            fields
                .iter()
                .zip(a.0.iter().zip(&b.0))
                .map(|((_, down), (a, b))| {
                    let order = a.compare(b).unwrap_or(Ordering::Equal);
                    if *down { order.reverse() } else { order }
                })
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        });
        // Neighbours of one batch leave together, so that no record is copied alone without need.
        let runs = order.chunk_by(|a, b| a.1 == b.1);
        Ok(runs.map(|run| held[run[0].1].gather(&run.iter().map(|at| at.2).collect::<Vec<_>>())).collect())
    }
}
