//! jsonb carried as bytes: never parsed on the way through, so no digit is lost.

use pgrx::pg_sys;
use pgrx::{FromDatum, IntoDatum};

use super::spi::{Arg, Column, Plain};

/// A jsonb value as the server stores it, copied out of the server's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jsonb(Box<[u8]>);

impl Jsonb {
    /// From JSON text made by the engine itself.
    pub fn from_json(value: &serde_json::Value) -> Jsonb {
        Jsonb::from_text(&value.to_string())
    }

    /// From JSON text; malformed text raises the server's own error.
    pub fn from_text(text: &str) -> Jsonb {
        let text = std::ffi::CString::new(text).unwrap_or_default();
        // SAFETY: jsonb_in takes one C string and returns a jsonb datum.
        unsafe {
            let datum = pgrx::direct_function_call_as_datum(
                pg_sys::jsonb_in,
                &[Some(pg_sys::Datum::from(text.as_ptr()))],
            );
            datum
                .and_then(|d| Jsonb::from_datum(d, false))
                .unwrap_or(Jsonb(Box::default()))
        }
    }

    /// Its JSON text.
    pub fn text(&self) -> String {
        // SAFETY: jsonb_out takes one jsonb datum and returns a C string in the current memory context.
        unsafe {
            pgrx::direct_function_call_as_datum(pg_sys::jsonb_out, &[self.clone().into_datum()])
                .map(|d| {
                    std::ffi::CStr::from_ptr(d.cast_mut_ptr())
                        .to_string_lossy()
                        .into_owned()
                })
                .unwrap_or_default()
        }
    }

    /// Parsed, every digit kept.
    pub fn parse(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap_or(serde_json::Value::Null)
    }
}

impl From<Box<[u8]>> for Jsonb {
    fn from(bytes: Box<[u8]>) -> Jsonb {
        Jsonb(bytes)
    }
}

impl From<Jsonb> for Box<[u8]> {
    fn from(value: Jsonb) -> Box<[u8]> {
        value.0
    }
}

impl FromDatum for Jsonb {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if null {
            return None;
        }
        // SAFETY: the datum is a jsonb; detoasting gives a flat varlena whose size its header tells.
        unsafe {
            let flat = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            let size = pgrx::varsize_any(flat);
            Some(Jsonb(
                std::slice::from_raw_parts(flat.cast::<u8>(), size).into(),
            ))
        }
    }
}

impl IntoDatum for Jsonb {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        // SAFETY: the bytes are a whole varlena; the copy belongs to the current memory context.
        unsafe {
            let copy = pg_sys::palloc(self.0.len()).cast::<u8>();
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), copy, self.0.len());
            Some(pg_sys::Datum::from(copy))
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

impl From<&Jsonb> for Arg {
    fn from(value: &Jsonb) -> Arg {
        Arg::datum(value.clone().into_datum())
    }
}

impl Plain for Jsonb {
    fn from_plain(datum: pg_sys::Datum) -> Option<Self> {
        // SAFETY: statement texts and decoders agree on the column's type.
        unsafe { Jsonb::from_datum(datum, false) }
    }
}

impl Column for Jsonb {
    fn read(datum: pg_sys::Datum, null: bool) -> Self {
        match Option::<Jsonb>::read(datum, null) {
            Some(value) => value,
            None => pgrx::error!("an engine statement returned null where the schema forbids it"),
        }
    }
}

// SAFETY: SQL sees the server's own jsonb.
unsafe impl pgrx::pgrx_sql_entity_graph::metadata::SqlTranslatable for Jsonb {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Jsonb);
    const TYPE_ORIGIN: pgrx::pgrx_sql_entity_graph::metadata::TypeOrigin =
        pgrx::pgrx_sql_entity_graph::metadata::TypeOrigin::External;
    const ARGUMENT_SQL: Result<
        pgrx::pgrx_sql_entity_graph::metadata::SqlMappingRef,
        pgrx::pgrx_sql_entity_graph::metadata::ArgumentError,
    > = Ok(pgrx::pgrx_sql_entity_graph::metadata::SqlMappingRef::literal("jsonb"));
    const RETURN_SQL: Result<
        pgrx::pgrx_sql_entity_graph::metadata::ReturnsRef,
        pgrx::pgrx_sql_entity_graph::metadata::ReturnsError,
    > = Ok(pgrx::pgrx_sql_entity_graph::metadata::ReturnsRef::One(
        pgrx::pgrx_sql_entity_graph::metadata::SqlMappingRef::literal("jsonb"),
    ));
}

// SAFETY: the value is copied out of the argument's datum.
unsafe impl<'fcx> pgrx::callconv::ArgAbi<'fcx> for Jsonb {
    unsafe fn unbox_arg_unchecked(arg: pgrx::callconv::Arg<'_, 'fcx>) -> Self {
        // SAFETY: SQL declares the argument as jsonb.
        match unsafe { arg.unbox_arg_using_from_datum::<Jsonb>() } {
            Some(value) => value,
            None => pgrx::error!("a jsonb argument must not be null"),
        }
    }
}

// SAFETY: the datum is palloc'd in the caller's memory context.
unsafe impl pgrx::callconv::BoxRet for Jsonb {
    unsafe fn box_into<'fcx>(
        self,
        fcinfo: &mut pgrx::callconv::FcInfo<'fcx>,
    ) -> pgrx::datum::Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: the datum is a jsonb, as SQL declares the result.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}
