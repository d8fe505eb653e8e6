//! A whole row selected as one value: the executor carries one column through its nodes instead of eighty.

use pgrx::pg_sys;

use super::spi::{Column, Plain};

/// The attributes of a row value.
pub struct Composite {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Composite {
    /// The attribute at a place of the table, counted from 0; NULL beyond the last.
    pub fn get<T: Column>(&self, index: usize) -> T {
        let null = self.nulls.get(index).copied().unwrap_or(true);
        T::read(
            self.values
                .get(index)
                .copied()
                .unwrap_or(pg_sys::Datum::null()),
            null,
        )
    }

    /// The row in a slot.
    ///
    /// # Safety
    /// The slot holds a row, and goes on to hold it while this value is used.
    pub(super) unsafe fn of_slot(slot: *mut pg_sys::TupleTableSlot) -> Composite {
        // SAFETY: as the caller promises; the arrays have an item for each attribute.
        unsafe {
            pg_sys::slot_getallattrs(slot);
            let attributes = (*(*slot).tts_tupleDescriptor).natts as usize;
            Composite {
                values: std::slice::from_raw_parts((*slot).tts_values, attributes).to_vec(),
                nulls: std::slice::from_raw_parts((*slot).tts_isnull, attributes).to_vec(),
            }
        }
    }

    /// # Safety
    /// The tuple has the attributes that the descriptor describes, and outlives the row.
    unsafe fn of_tuple(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> Composite {
        // SAFETY: as the caller promises; both vectors hold every attribute.
        unsafe {
            let attributes = (*descriptor).natts as usize;
            let mut values = vec![pg_sys::Datum::null(); attributes];
            let mut nulls = vec![true; attributes];
            pg_sys::heap_deform_tuple(tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            Composite { values, nulls }
        }
    }
}

impl Plain for Composite {
    fn from_plain(datum: pg_sys::Datum) -> Option<Self> {
        // SAFETY: the datum is a row value inside the result's memory, whose header names its type; the
        // descriptor is released after the attributes have been taken apart.
        unsafe {
            let header: pg_sys::HeapTupleHeader =
                pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            let descriptor = pg_sys::lookup_rowtype_tupdesc(
                (*header).t_choice.t_datum.datum_typeid,
                (*header).t_choice.t_datum.datum_typmod,
            );
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varsize_any(header.cast()) as u32,
                t_data: header,
                ..Default::default()
            };
            let row = Composite::of_tuple(&mut tuple, descriptor);
            if (*descriptor).tdrefcount >= 0 {
                pg_sys::DecrTupleDescRefCount(descriptor);
            }
            Some(row)
        }
    }
}

impl Column for Composite {
    fn read(datum: pg_sys::Datum, null: bool) -> Self {
        match Option::<Composite>::read(datum, null) {
            Some(row) => row,
            None => pgrx::error!("an engine statement returned no row where the schema forbids it"),
        }
    }
}

// SAFETY: SQL declares the argument as a row; the declaration is written by hand.
unsafe impl pgrx::pgrx_sql_entity_graph::metadata::SqlTranslatable for Composite {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Composite);
    const TYPE_ORIGIN: pgrx::pgrx_sql_entity_graph::metadata::TypeOrigin =
        pgrx::pgrx_sql_entity_graph::metadata::TypeOrigin::External;
    const ARGUMENT_SQL: Result<
        pgrx::pgrx_sql_entity_graph::metadata::SqlMappingRef,
        pgrx::pgrx_sql_entity_graph::metadata::ArgumentError,
    > = Ok(pgrx::pgrx_sql_entity_graph::metadata::SqlMappingRef::literal("record"));
    const RETURN_SQL: Result<
        pgrx::pgrx_sql_entity_graph::metadata::ReturnsRef,
        pgrx::pgrx_sql_entity_graph::metadata::ReturnsError,
    > = Ok(pgrx::pgrx_sql_entity_graph::metadata::ReturnsRef::One(
        pgrx::pgrx_sql_entity_graph::metadata::SqlMappingRef::literal("record"),
    ));
}

impl pgrx::FromDatum for Composite {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if null {
            None
        } else {
            Composite::from_plain(datum)
        }
    }
}

// SAFETY: the row is taken apart; its attributes stay in the argument's memory for the call.
unsafe impl<'fcx> pgrx::callconv::ArgAbi<'fcx> for Composite {
    unsafe fn unbox_arg_unchecked(arg: pgrx::callconv::Arg<'_, 'fcx>) -> Self {
        // SAFETY: SQL declares the argument as a row.
        match unsafe { arg.unbox_arg_using_from_datum::<Composite>() } {
            Some(row) => row,
            None => pgrx::error!("a row argument must not be null"),
        }
    }
}
