/** `migrate` and `migration cancel`: live moves, watched to their end. */
import { CancelOutcome, MigrationServiceDefinition } from "../../gen/drover/v1/migration.ts";
import type { CheckMigrationRequest, VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import { command, duration, text, toggle } from "../command.ts";
import { CommandFailed, UsageError } from "../failure.ts";
import { migrations } from "../kinds/migration.ts";
import { word } from "../kinds/kind.ts";
import { checkData, checkLines } from "../migration-check.ts";
import { SETTING_FLAGS, settingsOf } from "../migration-settings.ts";
import { migrated, progressBar, progressLine } from "../migration-state.ts";
import { ObjectClient } from "../objects.ts";
import type { Key } from "../objects.ts";
import { objectName, printData, printDone, printLine, printObject } from "../print.ts";
import { mutate } from "../session.ts";
import type { Session } from "../session.ts";
import { waitFor } from "../wait.ts";
import { WAIT_MS, machinesOf, whyMachine } from "./verbs.ts";

export const migrate = command({
  path: ["migrate"],
  summary: "Move a running machine to another node without stopping it",
  args: ["<name>"],
  flags: {
    to: text("--to <node>", "node to move to; the scheduler chooses when absent"),
    labels: text("-l, --selector <labels>", 'labels that the target must carry, such as "zone=b"'),
    check: toggle("--check", "say where it could be moved to, what it would take, and do nothing; fails when nowhere"),
    ...SETTING_FLAGS,
    wait: toggle("--wait", "return when the migration has ended"),
    timeout: duration("--timeout <duration>", "how long to wait", WAIT_MS),
  },
  async run({ args, flags, session }) {
    const key = { namespace: session.namespace, name: args[0]!.replace(/^(vm|virtualmachine)\//, "") };
    const added = { targetNode: flags.to ?? "", addedNodeSelector: labelsOf(flags.labels) };
    if (flags.check) return check(session, { ...key, ...added });
    const { migration } = await mutate(session, (requestId, signal) =>
      machinesOf(session).migrateVirtualMachine({ ...key, ...added, settings: settingsOf(flags), requestId, validateOnly: false }, { signal }));
    if (!flags.wait) return show(session, migration!, "requested");
    return watchMigration(session, migration!, { machine: key, timeoutMs: flags.timeout });
  },
});

function labelsOf(selector: string | undefined): Record<string, string> {
  const pairs = (selector ?? "").split(",").filter(Boolean).map((pair) => /^([^=!\s]+)=([^=\s]*)$/.exec(pair.trim()));
  if (pairs.includes(null)) throw new UsageError("--selector must be labels such as zone=b,disk=ssd");
  return Object.fromEntries(pairs.map((pair) => [pair![1]!, pair![2]!]));
}

/** The answer first: that there is no target is the command's failure. */
async function check({ connection, out, signal }: Session, request: CheckMigrationRequest): Promise<void> {
  const answer = await connection.client(MigrationServiceDefinition).checkMigration(request, { signal });
  await printData(out, checkData(answer), checkLines(request.name, answer));
  if (answer.chosenNode === "") throw new CommandFailed(`virtualmachine/${request.name}: no node can take it now`);
}

type WatchOptions = { machine: Key; timeoutMs: number };

async function watchMigration(session: Session, { metadata }: VirtualMachineInstanceMigration, { machine, timeoutMs }: WatchOptions): Promise<void> {
  const { namespace, name } = metadata!;
  const client = new ObjectClient(migrations, session);
  const told = teller(session);
  let last: VirtualMachineInstanceMigration | undefined;
  await waitFor(session, client, { namespace, name }, {
    timeoutMs,
    what: "to end",
    async judge(migration) {
      if (migration) await told(migration);
      last = migration ?? last;
      return migrated(migration);
    },
    explain: () => whyMachine(session, machine),
  });
  if (last && session.out.format !== "json") await show(session, last, "succeeded");
}

/** On a terminal a bar that moves; otherwise a line for each phase and mode. For programs every change, one on a line. */
function teller({ out }: Session): (migration: VirtualMachineInstanceMigration) => void | Promise<void> {
  let told = "";
  return (migration) => {
    if (out.format === "json") return printLine(out, migrations, migration);
    if (out.showsProgress) return out.progress(progressBar(migration));
    const now = `${migration.status?.phase} ${migration.status?.mode}`;
    if (now !== told) out.remark(progressLine(migration));
    told = now;
  };
}

function show({ out }: Session, migration: VirtualMachineInstanceMigration, done: string): Promise<void> {
  return printDone(out, { kind: migrations, object: migration, said: done === "succeeded" ? `${done} (${progressLine(migration)})` : done });
}

export const cancelMigration = command({
  path: ["migration", "cancel"],
  summary: "End a migration without moving",
  args: ["<name>"],
  flags: {},
  async run({ args, session }) {
    const key = { namespace: session.namespace, name: args[0]!.replace(/^[a-z]+\//, "") };
    const { migration } = await mutate(session, (requestId, signal) =>
      session.connection.client(MigrationServiceDefinition).cancelMigration({ ...key, requestId, validateOnly: false }, { signal }));
    if (session.out.format !== "table") return printObject(session.out, migrations, migration!);
    return session.out.line(`${objectName(migrations, key.name)} ${cancelled(migration?.status?.cancelOutcome)}`);
  },
});

function cancelled(outcome: number | undefined): string {
  if (outcome === CancelOutcome.CANCELLED) return "cancelled: the machine stays where it is";
  if (outcome === CancelOutcome.ABORTING) return "will be cancelled if that is in time: the source is told to abort";
  if (outcome === CancelOutcome.TOO_LATE) return "not cancelled: the machine had moved already";
  return outcome === CancelOutcome.REQUESTED ? "will be cancelled" : word(CancelOutcome, outcome);
}
