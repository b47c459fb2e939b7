//! The one way to declare a table (`table!`) and to list the tables (`tables!`).

/// Declares a table: its row type, with the conversions to and from record batches, and its [`Declaration`].
///
/// ```text
/// table! {
///     /// What a row is, in a sentence.
///     ///
///     /// More about it.
///     pub struct Outlier in Table::Outliers, "outliers", by class {
///         /// What the column holds.
///         pub kind: OutlierKind,
///         /// A column that holds most of the bytes is kept apart.
///         pub vector: Vec<f32> as wide,
///         /// A column that was added later: older rows have this value.
///         pub norm: Option<f32> = None,
///     }
/// }
/// ```
///
/// Every row has `class_id`, `class_name` and `index` before its own columns. In a table `by class` each row
/// belongs to a class, its part is the class, and `index` counts within it; in a table `by run` it may belong
/// to none, its part is 0, and `index` counts within the run. The types of columns are those of [`Value`]; a
/// type that is no `Option` is never null. Columns added later come last. What they hold counts in the digest
/// of a run where it is not the value of older rows, so that the digest of a finished run stays what it was.
/// (A vector cannot be added: older rows have no width.)
///
/// [`Declaration`]: crate::Declaration
/// [`Value`]: crate::value::Value
macro_rules! table {
    (
        $(#[doc = $about:literal])*
        pub struct $Row:ident in Table::$Table:ident, $name:literal, by $part:ident {
            $(
                $(#[doc = $doc:literal])*
                pub $column:ident: $Type:ty $(as $place:ident)? $(= $default:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Row {
            /// The class that the row belongs to.
            pub class_id: table!(@class_id $part),
            /// The name of that class.
            pub class_name: table!(@class_name $part),
            /// Its place among the rows of its class, or of the run where they are not kept by class.
            pub index: u64,
            $($(#[doc = $doc])* pub $column: $Type,)*
        }

        impl $crate::Artifact for $Row {
            const TABLE: $crate::Table = $crate::Table::$Table;

            const DECLARATION: &'static $crate::Declaration = &$crate::Declaration {
                name: $name,
                about: concat!($($about, "\n"),*),
                by_class: table!(@by_class $part),
                columns: &[
                    table!(@column class_id, "The class that the row belongs to.", u32),
                    table!(@column class_name, "The name of that class.", String),
                    table!(@column index, "Its place in its class, or in the run.", i64),
                    $(table!(
                        @column $column, concat!($($doc, "\n"),*), $Type $(, $name, $default)?
                    ),)*
                ],
                wide: &[$($(table!(@$place $column),)?)*],
            };

            fn part(&self) -> u32 {
                table!(@part $part self)
            }

            fn index(&self) -> u64 {
                self.index
            }

            fn to_batch(rows: &[Self]) -> Result<arrow::array::RecordBatch, $crate::SchemaError> {
                use $crate::value::Value;
                let index: Vec<_> = rows.iter().map(|row| row.index as i64).collect();
                let columns = vec![
                    Value::write($name, rows.iter().map(|row| &row.class_id))?,
                    Value::write($name, rows.iter().map(|row| &row.class_name))?,
                    Value::write($name, index.iter())?,
                    $(Value::write($name, rows.iter().map(|row| &row.$column))?,)*
                ];
                let width = $crate::value::width(&columns);
                Ok(arrow::array::RecordBatch::try_new(Self::schema(width), columns)?)
            }

            fn from_batch(batch: &arrow::array::RecordBatch) -> Result<Vec<Self>, $crate::SchemaError> {
                let columns = $crate::columns::Columns::named($name, batch);
                let mut class_id = columns.read("class_id")?.into_iter();
                let mut class_name = columns.read("class_name")?.into_iter();
                let index: Vec<i64> = columns.read("index")?;
                $(let mut $column = table!(@read columns, $column $(, $default)?).into_iter();)*
                let row = |index: i64| {
                    Some(Self {
                        class_id: class_id.next()?,
                        class_name: class_name.next()?,
                        index: index as u64,
                        $($column: $column.next()?,)*
                    })
                };
                // Columns of one batch are equally long, so no row is left out.
                Ok(index.into_iter().map_while(row).collect())
            }
        }
    };

    (@class_id class) => { u32 };
    (@class_id run) => { Option<u32> };
    (@class_name class) => { String };
    (@class_name run) => { Option<String> };
    (@by_class class) => { true };
    (@by_class run) => { false };
    (@part class $row:ident) => { $row.class_id };
    (@part run $row:ident) => { 0 };
    (@wide $column:ident) => { stringify!($column) };
    (@read $columns:ident, $column:ident) => { $columns.read(stringify!($column))? };
    (@read $columns:ident, $column:ident, $default:expr) => {
        $columns.read_or(stringify!($column), $default)?
    };
    (@column $column:ident, $about:expr, $Type:ty) => {
        $crate::Column {
            name: stringify!($column),
            about: $about,
            data_type: <$Type as $crate::value::Value>::data_type,
            default: None,
        }
    };
    (@column $column:ident, $about:expr, $Type:ty, $name:literal, $default:expr) => {
        $crate::Column {
            name: stringify!($column),
            about: $about,
            data_type: <$Type as $crate::value::Value>::data_type,
            default: Some(|rows| {
                let default: $Type = $default;
                $crate::value::Value::write($name, std::iter::repeat_n(&default, rows))
            }),
        }
    };
}

/// Lists the tables, each with its row type: makes the enum [`Table`](crate::Table) and all that depends on
/// which table it is.
macro_rules! tables {
    ($($Table:ident: $Row:ident),* $(,)?) => {
        /// The tables of artifacts, in the order in which a run's digest takes them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Table {
            $(
                #[doc = concat!("[`", stringify!($Row), "`]")]
                $Table,
            )*
        }

        impl Table {
            /// Every table of artifacts.
            pub const ALL: [Table; [$(stringify!($Table)),*].len()] = [$(Table::$Table),*];

            /// Returns the table's declaration.
            pub fn declaration(self) -> &'static $crate::Declaration {
                match self {
                    $(Table::$Table => <$Row as $crate::Artifact>::DECLARATION,)*
                }
            }

            /// Does something with the row type of the table.
            pub fn visit<V: $crate::TableVisitor>(self, visitor: V) -> V::Output {
                match self {
                    $(Table::$Table => visitor.visit::<$Row>(),)*
                }
            }
        }
    };
}

pub(crate) use {table, tables};
