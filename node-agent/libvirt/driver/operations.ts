/** Each operation of the protocol: the lane it runs on and the calls that it makes. */
import { abortJobFlag, undefineFlag, xmlFlag } from "../constants.ts";
import type { OperationName, Operations } from "../protocol.ts";
import { isTestDriver } from "../uri.ts";
import type { Connection } from "./connection.ts";
import { create, define, findByName, get, launch, list, setMetadata, withDomain } from "./domains.ts";
import { inventory } from "./inventory.ts";
import { job, migrate } from "./migration.ts";
import { compareCpu, memoryLoad, startDirtyRate } from "./suitability.ts";
import type { RemoteCall } from "./symbols.ts";

type Run<K extends OperationName> = (
  connection: Connection,
  args: Operations[K]["arguments"],
  uri: string,
) => Promise<Operations[K]["result"]>;

/** Never with xmlFlag.SECURE: what leaves this process is logged and compared. */
const FORMS = { live: 0, inactive: xmlFlag.INACTIVE, migratable: xmlFlag.MIGRATABLE } as const;

/** What libvirt keeps of a definition besides itself goes too; the firmware's variables are the guest's data and stay. */
const UNDEFINE_TEST = undefineFlag.MANAGED_SAVE | undefineFlag.SNAPSHOTS_METADATA;
const UNDEFINE = UNDEFINE_TEST | undefineFlag.CHECKPOINTS_METADATA | undefineFlag.KEEP_NVRAM;

export const operations: { [K in OperationName]: Run<K> } = {
  inventory: (connection, { domainType }, uri) => connection.change((lane) => inventory(lane, uri, domainType)),
  list: (connection) => connection.on(connection.query, list),
  get: (connection, { uuid }) => connection.on(connection.query, (lane) => get(lane, uuid)),
  findByName: (connection, { name }) => connection.on(connection.query, (lane) => findByName(lane, name)),
  xml: (connection, { uuid, form }) =>
    connection.on(connection.query, (lane) =>
      withDomain(lane, uuid, (handle) => lane.onDomain("virDomainGetXMLDesc", handle, FORMS[form]) as Promise<string>),
    ),
  launch: (connection, options) => connection.change((lane) => launch(lane, options)),
  define: (connection, { xml }) => connection.change((lane) => define(lane, xml)),
  create: (connection, { uuid }) => connection.change((lane) => create(lane, uuid)),
  shutdown: (connection, { uuid }) => simple(connection, uuid, "virDomainShutdownFlags", 0),
  destroy: (connection, { uuid }) => simple(connection, uuid, "virDomainDestroyFlags", 0),
  undefine: (connection, { uuid }, uri) =>
    simple(connection, uuid, "virDomainUndefineFlags", isTestDriver(uri) ? UNDEFINE_TEST : UNDEFINE),
  suspend: (connection, { uuid }) => simple(connection, uuid, "virDomainSuspend"),
  resume: (connection, { uuid }) => simple(connection, uuid, "virDomainResume"),
  reset: (connection, { uuid }) => simple(connection, uuid, "virDomainReset", 0),
  setMetadata: (connection, { uuid, metadata }) => connection.change((lane) => setMetadata(lane, uuid, metadata)),
  migrate: (connection, { uuid, options }) => connection.alone(uuid, (lane) => migrate(lane, uuid, options)),
  job: (connection, { uuid }) => connection.poll(uuid, (lane) => job(lane, uuid)),
  startPostCopy: (connection, { uuid }) => simple(connection, uuid, "virDomainMigrateStartPostCopy", 0),
  abortJob: (connection, { uuid, postCopy }) =>
    postCopy
      ? simple(connection, uuid, "virDomainAbortJobFlags", abortJobFlag.POSTCOPY)
      : simple(connection, uuid, "virDomainAbortJob"),
  setMigrationSpeed: (connection, { uuid, mebibytesPerSecond }) =>
    simple(connection, uuid, "virDomainMigrateSetMaxSpeed", mebibytesPerSecond, 0),
  setMaxDowntime: (connection, { uuid, milliseconds }) => simple(connection, uuid, "virDomainMigrateSetMaxDowntime", milliseconds, 0),
  compareCpu: (connection, question) => connection.change((lane) => compareCpu(lane, question)),
  startDirtyRate: (connection, { uuid, seconds }) => connection.change((lane) => startDirtyRate(lane, uuid, seconds)),
  memoryLoad: (connection, { uuid }) => connection.change((lane) => memoryLoad(lane, uuid)),
  openConsole: (connection, opening) => connection.openConsole(opening),
};

/** One call on one domain that answers nothing. */
function simple(connection: Connection, uuid: string, call: RemoteCall, ...rest: number[]): Promise<void> {
  return connection.change((lane) =>
    withDomain(lane, uuid, async (handle) => {
      await lane.onDomain(call, handle, ...rest);
    }),
  );
}
