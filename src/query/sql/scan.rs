//! The leaf of a plan: what is read, said by EXPLAIN, counted by EXPLAIN ANALYZE, on a thread that reads
//! ahead.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};

use crate::store::Tally;

/// Batches of rows as they are read.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Rows that can be read.
pub(super) trait Reads: fmt::Debug + Send + Sync {
    /// Returns the schema of the rows.
    fn schema(&self) -> &SchemaRef;

    /// Says what is read, in one line.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Begins to read.
    fn batches(&self, tally: &Arc<Tally>) -> Result<Batches>;
}

/// The names of columns, as `describe` says them.
pub(super) fn column_names(schema: &SchemaRef) -> String {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// The leaf of a plan.
#[derive(Debug)]
pub(super) struct ScanExec {
    reads: Arc<dyn Reads>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    /// Returns the plan that reads.
    pub(super) fn new(reads: Arc<dyn Reads>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(reads.schema().clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            reads,
            properties: Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative)),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reads.describe(f)
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => Err(DataFusionError::Internal("a scan has no children".to_owned())),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let count = |name| MetricBuilder::new(&self.metrics).counter(name, partition);
        let (blocks, bytes) = (count("blocks_read"), count("bytes_read"));
        let rows = MetricBuilder::new(&self.metrics).output_rows(partition);
        // One batch is computed on, one waits, one is being read.
        let mut builder = RecordBatchReceiverStream::builder(self.reads.schema().clone(), 1);
        let (sender, reads) = (builder.tx(), self.reads.clone());
        builder.spawn_blocking(move || {
            let tally = Arc::default();
            for batch in reads.batches(&tally)? {
                blocks.add(tally.blocks() as usize - blocks.value());
                bytes.add(tally.bytes() as usize - bytes.value());
                rows.add(batch.as_ref().map_or(0, RecordBatch::num_rows));
                let failed = batch.is_err();
                // A closed channel means that nobody wants more.
                if sender.blocking_send(batch).is_err() || failed {
                    break;
                }
            }
            Ok(())
        });
        Ok(make_cooperative(builder.build()))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
