/** `logs` and `console`: a machine's serial output, followed to the node where it goes on. Read-only. */
import { Status } from "nice-grpc-common";
import { RECONNECT, backoffMs } from "../../lib/backoff.ts";
import { delay } from "../../lib/clock.ts";
import { VirtualMachineInstanceServiceDefinition } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { command, count, toggle } from "../command.ts";
import { CommandFailed, detailsOf } from "../failure.ts";
import { hasStatus } from "../session.ts";
import type { Session } from "../session.ts";
import { visibleConsole } from "../visible.ts";

const TAIL_MAX_BYTES = 1_048_576;
/** An unreachable node is given this many attempts before the command gives up. */
const ATTEMPTS_MAX = 20;

const tail = count("--tail-bytes <bytes>", "earlier output to begin with (default 65536)", TAIL_MAX_BYTES);

export const logs = command({
  path: ["logs"],
  summary: "Show a machine's serial output",
  args: ["<name>"],
  flags: { follow: toggle("-f, --follow", "go on with what comes"), tail },
  async run({ args, flags, session }) {
    await readConsole(session, args[0]!, flags);
  },
});

export const console_ = command({
  path: ["console"],
  summary: "Watch a machine's serial output (read-only)",
  args: ["<name>"],
  flags: { follow: toggle("-f, --follow", "accepted for likeness with logs: it always follows"), tail },
  async run({ args, flags, session }) {
    await readConsole(session, args[0]!, { ...flags, follow: true });
  },
});

type Reading = { follow: boolean; tail: number | undefined };

async function readConsole(session: Session, name: string, { follow, tail }: Reading): Promise<void> {
  const { out, random, clock, signal } = session;
  const write = writer(session);
  let tailBytes = tail;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const request = { namespace: session.namespace, name: name.replace(/^[a-z]+\//, ""), follow, tailBytes };
      for await (const { data } of session.connection.client(VirtualMachineInstanceServiceDefinition).readConsole(request, { signal })) {
        attempt = 0;
        tailBytes = 0; // After a lost connection only what is new.
        if (data.length > 0) write(data);
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (hasStatus(error, Status.NOT_FOUND)) throw new CommandFailed(`"${name}" has no run now, and so no console`);
      const moved = hasMoved(error);
      const begun = tailBytes === 0 && attempt < ATTEMPTS_MAX;
      if (!moved && !(follow && begun && hasStatus(error, Status.UNAVAILABLE))) throw error;
      // What the guest wrote at its new node, before this command was there, is all new.
      if (moved) tailBytes = undefined;
      if (attempt === 0) out.remark(moved ? "the machine moved; going on at its new node" : "the connection was lost; output may be missing");
      await delay(clock, backoffMs(RECONNECT, Math.max(1, attempt), random.fraction()), signal).catch(() => undefined);
    }
  }
}

const hasMoved = (error: unknown) => hasStatus(error, Status.ABORTED) && detailsOf(error).reason === "INSTANCE_MOVED";

/** A program gets the guest's bytes; a terminal gets no control sequences from a guest, which may be hostile. */
function writer({ out }: Session): (data: Uint8Array) => void {
  if (!out.isTerminal) return (data) => out.raw(data);
  const decoder = new TextDecoder();
  return (data) => out.raw(visibleConsole(decoder.decode(data, { stream: true })));
}
