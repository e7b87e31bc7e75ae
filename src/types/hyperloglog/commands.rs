//! PFADD, PFCOUNT and PFMERGE. What is logged is what changed in the string: a few bytes for an element.

use super::change::{create, store};
use super::dense::{self, patches};
use super::element::Element;
use super::estimate::cardinality;
use super::registers::Registers;
use super::sparse::{self, Added};
pub use super::table::COMMANDS;
use super::view::{CORRUPTED, Form, HEADER, View, cardinality_offset, empty, is_stale, make_stale};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::op::Op;
use crate::resp::Reply;
use crate::types::string::value::StringOp;

/// The HyperLogLog in an entry, if there is one.
pub(super) fn view(entry: Option<&Entry>) -> Result<Option<View<'_>>, CommandError> {
    let Some(entry) = entry else { return Ok(None) };
    View::of(entry.as_string().ok_or(CommandError::WRONG_TYPE)?).map(Some)
}

/// A string of either form that elements are added to.
struct Growing {
    string: Vec<u8>,
    form: Form,
    /// Up to which length it stays sparse.
    sparse_max: u64,
    changed: bool,
}

impl Growing {
    fn new(ctx: &Ctx<'_>, string: Vec<u8>, form: Form) -> Self {
        Self { string, form, sparse_max: ctx.server.config.hll_sparse_max_bytes(), changed: false }
    }

    fn add(&mut self, element: Element) -> CommandResult {
        if self.form == Form::Sparse {
            match sparse::add(&mut self.string, element, self.sparse_max) {
                Added::Nothing => return Ok(()),
                Added::Changed => {
                    self.changed = true;
                    return Ok(());
                }
                Added::Corrupted => return Err(CORRUPTED),
                Added::NoRoom => self.make_dense()?,
            }
        }
        let registers = &mut self.string[HEADER..];
        if dense::get(registers, element.index.into()) < element.rank {
            dense::set(registers, element.index.into(), element.rank);
            self.changed = true;
        }
        Ok(())
    }

    fn make_dense(&mut self) -> CommandResult {
        self.string = View { string: &self.string, form: self.form }.to_dense()?;
        self.form = Form::Dense;
        Ok(())
    }
}

pub(super) fn pfadd(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.get(1);
    let elements = args.tail(2).iter().map(Element::of);
    let changed = match view(ctx.entry_quietly(key))? {
        None => {
            let mut hll = Growing::new(ctx, empty(), Form::Sparse);
            for element in elements {
                hll.add(element)?;
            }
            make_stale(&mut hll.string);
            create(ctx, key, &hll.string)?;
            true
        }
        Some(View { string, form: Form::Dense }) => {
            let patches = patches(string, elements);
            for patch in &patches {
                let op = StringOp::SetRange { offset: patch.offset as u64, bytes: &patch.bytes };
                ctx.apply(key, Op::String(op))?;
            }
            !patches.is_empty()
        }
        Some(View { string, form: Form::Sparse }) => {
            let old = string.to_vec();
            let mut hll = Growing::new(ctx, old.clone(), Form::Sparse);
            for element in elements {
                hll.add(element)?;
            }
            if hll.changed {
                make_stale(&mut hll.string);
                store(ctx, key, &old, &hll.string)?;
            }
            hll.changed
        }
    };
    reply.integer(changed.into());
    Ok(())
}

/// The count of one key is written into it, as Redis does: the next one costs nothing. Where nothing may be logged it is only told.
pub(super) fn pfcount(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.len() > 2 {
        return count_union(ctx, args, reply);
    }
    let key = args.get(1);
    let Some(hll) = view(ctx.entry(key))? else {
        reply.integer(0);
        return Ok(());
    };
    let cached = hll.cached();
    let count = cached.map_or_else(|| hll.count(), Ok)?;
    if cached.is_none() && ctx.may_expire {
        let bytes = count.to_le_bytes();
        ctx.apply(key, Op::String(StringOp::SetRange { offset: cardinality_offset(), bytes: &bytes }))?;
    }
    reply.integer(count);
    Ok(())
}

fn count_union(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut registers = Registers::new();
    for key in args.tail(1).iter() {
        if let Some(hll) = view(ctx.entry(key))? {
            hll.merge_into(&mut registers)?;
        }
    }
    reply.integer(cardinality(&registers.histogram()));
    Ok(())
}

pub(super) fn pfmerge(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut registers = Registers::new();
    let mut is_dense = false;
    for key in args.tail(1).iter() {
        if let Some(hll) = view(ctx.entry(key))? {
            is_dense |= hll.form == Form::Dense;
            hll.merge_into(&mut registers)?;
        }
    }
    let key = args.get(1);
    let old = ctx.entry_quietly(key).and_then(Entry::as_string).map(<[u8]>::to_vec);
    let mut hll = match &old {
        None => Growing::new(ctx, empty(), Form::Sparse),
        Some(old) => Growing::new(ctx, old.clone(), View::of(old)?.form),
    };
    if is_dense && hll.form == Form::Sparse {
        hll.make_dense()?;
    }
    for (index, rank) in registers.non_zero() {
        hll.add(Element { index: index as u16, rank })?;
    }
    make_stale(&mut hll.string);
    match old {
        None => create(ctx, key, &hll.string)?,
        Some(old) if old != hll.string => store(ctx, key, &old, &hll.string)?,
        // Even then the key changed for whoever watches it.
        Some(_) => {
            debug_assert!(is_stale(&hll.string));
            let bytes = &hll.string[HEADER - 1..HEADER];
            ctx.apply(key, Op::String(StringOp::SetRange { offset: HEADER as u64 - 1, bytes }))?;
        }
    }
    reply.ok();
    Ok(())
}
