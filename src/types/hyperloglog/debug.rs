//! PFDEBUG and PFSELFTEST.

use super::change::store;
use super::commands::view;
use super::dense;
use super::element::{Element, REGISTERS};
use super::estimate::cardinality;
use super::registers::Registers;
use super::sparse::{self, Added};
use super::view::{Form, HEADER, View, empty, make_stale};
use crate::command::options::is;
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::resp::Reply;

pub(super) fn pfdebug(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (word, key) = (args.get(1), args.get(2));
    let hll =
        view(ctx.entry_quietly(key))?.ok_or(CommandError::new("ERR The specified key does not exist"))?;
    match () {
        () if is(word, "GETREG") => {
            let mut registers = Registers::new();
            hll.merge_into(&mut registers)?;
            make_dense(ctx, key)?;
            let values = registers.iter();
            reply.array(values.len());
            values.for_each(|value| reply.integer(value.into()));
            Ok(())
        }
        () if is(word, "DECODE") && hll.form == Form::Dense => {
            Err(CommandError::new("ERR HLL encoding is not sparse"))
        }
        () if is(word, "DECODE") => {
            reply.bulk_str(&sparse::describe(&hll.string[HEADER..]));
            Ok(())
        }
        () if is(word, "ENCODING") => {
            reply.simple(if hll.form == Form::Dense { "dense" } else { "sparse" });
            Ok(())
        }
        () if is(word, "TODENSE") => {
            let converted = make_dense(ctx, key)?;
            reply.integer(converted.into());
            Ok(())
        }
        () => {
            let word = String::from_utf8_lossy(word);
            Err(CommandError::owned(format!("ERR Unknown PFDEBUG subcommand '{word}'")))
        }
    }
}

/// Makes a key's HyperLogLog dense. True if it was not.
fn make_dense(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<bool, CommandError> {
    let Some(hll) = view(ctx.entry_quietly(key))?.filter(|hll| hll.form == Form::Sparse) else {
        return Ok(false);
    };
    let (old, new) = (hll.string.to_vec(), hll.to_dense()?);
    store(ctx, key, &old, &new)?;
    Ok(true)
}

/// Different elements that the self test adds.
const TEST_ELEMENTS: u64 = 100_000;
/// So many of them are added to the sparse form too, where adding is slow.
const TEST_SPARSE: u64 = 1 << 12;

/// Counts growing sets in both forms: they must agree, and be near the truth.
pub(super) fn pfselftest(_: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let failed = |what: &str, number: u64| CommandError::owned(format!("ERR TESTFAILED {what} at {number}"));
    let mut registers = Registers::new();
    let mut string = empty();
    let mut packed = vec![0; dense::DENSE];
    make_stale(&mut string);
    for number in 1..=TEST_ELEMENTS {
        let element = Element::of(&number.to_le_bytes());
        let index = usize::from(element.index);
        registers.raise(index..index + 1, element.rank);
        let raised = dense::get(&packed, index).max(element.rank);
        dense::set(&mut packed, index, raised);
        let is_small = number <= TEST_SPARSE;
        if is_small && sparse::add(&mut string, element, u64::MAX) == Added::Corrupted {
            return Err(failed("sparse form", number));
        }
        if !(number.is_power_of_two() || number == TEST_ELEMENTS) {
            continue;
        }
        if !dense::registers(&packed).eq(registers.iter()) {
            return Err(failed("dense registers", number));
        }
        let count = cardinality(&registers.histogram());
        let hll = View { string: &string, form: Form::Sparse };
        // A rank above 32 has no sparse form.
        if is_small && hll.count()? != count && registers.iter().all(|value| value <= 32) {
            return Err(failed("sparse count", number));
        }
        // Six standard errors, and room for small sets.
        let error_max = 6.0 * 1.04 / (REGISTERS as f64).sqrt() * number as f64;
        if (count as f64 - number as f64).abs() > error_max.max(2.0) {
            return Err(failed("estimate", number));
        }
    }
    reply.ok();
    Ok(())
}
