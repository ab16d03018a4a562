"""An executor for an official scheduler that runs nothing itself: what is queued goes to Tradewind's workers."""

from airflow.executors.base_executor import BaseExecutor
from airflow.utils.session import create_session
from sqlalchemy import text

SEND = text("INSERT INTO tradewind.outbox (ti_id, queue, priority_weight) VALUES (:ti_id, :queue, :priority_weight)")
NOTIFY = text("SELECT pg_notify('tradewind_queue', :queue)")


class TradewindQueue(BaseExecutor):
    """Called after the scheduler has committed `queued`; forgets at once what it has sent."""

    def _process_workloads(self, workloads):
        with create_session() as session:
            for workload in workloads:
                ti = workload.ti
                message = {"ti_id": ti.id, "queue": ti.queue, "priority_weight": ti.priority_weight}
                session.execute(SEND, message)
                session.execute(NOTIFY, {"queue": ti.queue})
                del self.queued_tasks[ti.key]
