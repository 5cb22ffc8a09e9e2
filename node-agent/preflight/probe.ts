/**
 * Whether there is a way to another node, by one attempt to connect. Nothing has to listen there: a refusal comes from that
 * host too, and proves as much.
 */
import { connect, isIP } from "node:net";
import { AddressProbe, ProbeOutcome } from "../../gen/drover/agent/v1/agent.ts";
import type { Clock } from "../../lib/clock.ts";

const TIMEOUT_MS = 2_000;
const NO_ROUTE: ReadonlySet<string> = new Set(["EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN"]);
/** This host itself, every host, or a group: none is another node's address. */
const NOT_A_NODE = /^(0\.|127\.|22[4-9]\.|2[3-5]\d\.|::1?$|::ffff:|ff)/i;

export class NotAnAddress extends Error {
  override name = "NotAnAddress";
}

export function probeAddress({ address, port }: { address: string; port: number }, clock: Clock): Promise<AddressProbe> {
  if (isIP(address) === 0 || NOT_A_NODE.test(address)) throw new NotAnAddress("The address is not one at which another node can be");
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (outcome: ProbeOutcome, message: string) => {
      timer.cancel();
      socket.destroy();
      resolve(AddressProbe.create({ outcome, message }));
    };
    const timer = clock.after(TIMEOUT_MS, () => end(ProbeOutcome.SILENT, `no answer within ${TIMEOUT_MS} ms`));
    socket.once("connect", () => end(ProbeOutcome.ANSWERED, ""));
    socket.once("error", ({ code = "" }: NodeJS.ErrnoException) => {
      if (code === "ECONNREFUSED" || code === "ECONNRESET") return end(ProbeOutcome.ANSWERED, code);
      return end(NO_ROUTE.has(code) ? ProbeOutcome.NO_ROUTE : ProbeOutcome.SILENT, code);
    });
  });
}
