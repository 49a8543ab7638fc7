//! Defects that users of other systems of this kind have met, each tried on this one, but for the last, whose bus is still to come: none of them is here.
//!
//! A file is called after the first thread in which it was reported; its text says what happened there. Where a part has a
//! suite of its own, what that proves is not proved again.
//!
//! | | reported as | what happened there | shown in |
//! | --- | --- | --- | --- |
//! | 1 | `vectordotdev/vector#24543`, `#24215` | a store answers 401 or 403: the message is dropped, and a later one commits its position | `vector_24543` |
//! | 2 | `vectordotdev/vector#10870`, `#23366` | refused credentials drop messages; one whose place cannot be told counts as delivered | `vector_24543`, `vector_23366`, `credentials` |
//! | 3 | `redpanda-data/connect#4010`, `#4477` | a cooperative rebalance loses what was in flight; a late acknowledgement moves the position of a partition that has gone | `connect_4010`, `iceberg_17551` |
//! | 4 | `apache/iceberg#17551`, `#17637`, `#17340`, `#15710`, `#11289` | one that was thought dead commits after its successor: rows are lost, or files are in the table twice | `iceberg_17551` |
//! | 5 | `confluentinc/kafka-connect-bigquery#481`, `#333`, `#68`, `#74`, `Aiven-Open/bigquery-connector-for-apache-kafka#151` | a quota stops it without a word; part of a batch fails and rows are lost | `bigquery_481` |
//! | 6 | `apache/beam#26515`, `#26520`, `GoogleCloudPlatform/DataflowTemplates#2016` | "that is there already" is taken for a failure, or a failure for success | `beam_26515` |
//! | 7 | `snowflakedb/snowflake-kafka-connector#1092`, `#1122`, `#775`, `#1538` | tables that grow lose rows; messages without rows stop the rest; a topic of few messages freezes | `snowflake_1092`, `snowflake_775`, `snowflake_1538` |
//! | 8 | `redpanda-data/connect#4666`, `#4591`, `#4605` | files of commits that had landed are deleted; files are there twice, or tell wrong numbers | `connect_4666` |
//! | 9 | `vectordotdev/vector#12084`, `#22006`, `#26438` | each member that joins doubles rows; partitions are read no more after a rebalance | `vector_12084` |
//! | 10 | `snowflakedb/snowflake-kafka-connector#777`, `#690`, `#820` | what is written is read again; lost rows cannot be loaded again; positions are another cluster's | `snowflake_777` |
//! | 11 | `googleapis/google-cloud-go#10437`, `#11642`, `googleapis/nodejs-pubsub#1864` | Pub/Sub delivers again when a stream opens anew; leases and acknowledgements fail | `tests/bus_contract`: `what_is_held_is_not_delivered_again` (the emulator), `fake` (a late acknowledgement); how many ids one acknowledgement has is the client's |

mod beam_26515;
mod bigquery_481;
mod connect_4010;
mod connect_4666;
mod iceberg_17551;
mod snowflake_1092;
mod snowflake_1538;
mod snowflake_775;
mod snowflake_777;
mod vector_12084;
mod vector_23366;
mod vector_24543;
