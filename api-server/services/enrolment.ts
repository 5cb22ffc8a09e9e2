/** Lets a host become a node by its token. Nobody is known on this listener, so that every refusal looks the same. */
import type { CallContext } from "nice-grpc-common";
import type { EnrollRequest, EnrollResponse, EnrolmentServiceImplementation } from "../../gen/drover/agent/v1/enrolment.ts";
import { Event, EventType, ObjectReference } from "../../gen/drover/v1/event.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import type { Clock } from "../../lib/clock.ts";
import { NotFound, Unauthenticated } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import { parseJoinToken, secretDigest } from "../../lib/pki/join-token.ts";
import { metaOf } from "../kinds/kind.ts";
import { nodes } from "../kinds/node.ts";
import type { Call, Objects, WithCall } from "../objects.ts";
import { tokenFault, unknownToken } from "../subresources/identity.ts";
import type { TokenFault } from "../subresources/identity.ts";
import { FailureLimit } from "./failure-limit.ts";
import type { NodeCertificates } from "./node-certificates.ts";

export type EnrolmentParts = {
  objects: Objects;
  certificates: NodeCertificates;
  clock: Clock;
  log: Logger;
  /** Records an event, folded with its like. */
  recordEvent: (event: Event, call: Call) => Promise<unknown>;
};

const EVENTS: Record<Exclude<TokenFault, "unknown">, { reason: string; message: string }> = {
  used: { reason: "JoinTokenUsedAgain", message: "A token that was used before was used again: it may have been stolen" },
  late: { reason: "JoinTokenExpired", message: "A token was used after its time" },
};

export function enrolmentService(parts: EnrolmentParts): EnrolmentServiceImplementation<WithCall> {
  const failures = new FailureLimit(parts.clock);
  return {
    enroll: (request, { call, peer }) => failures.guard(addressOf(peer), () => enroll(parts, request, { call, peer }), isBadToken),
  };
}

const isBadToken = (error: unknown) => error instanceof Unauthenticated;

/** Without the port, which changes with each connection. */
const addressOf = (peer: string): string => peer.replace(/:\d+$/, "");

async function enroll(parts: EnrolmentParts, request: EnrollRequest, { call, peer }: Pick<CallContext, "peer"> & WithCall): Promise<EnrollResponse> {
  const { objects, certificates, clock, log } = parts;
  const token = parseJoinToken(request.token);
  const found = token && (await objects.revealed.find(nodes, { name: token.node }));
  const [digest, now] = [secretDigest(token?.secret ?? ""), clock.now()];
  const fault = tokenFault(found, { digest, now });
  if (!token || !found || fault) {
    log.warn({ peer, node: token?.node, fault }, "a token was refused");
    if (found && fault && fault !== "unknown") await tell(parts, found, fault, call);
    throw unknownToken();
  }
  const keys = await certificates.keysOf(request);
  try {
    const own = { ...call, requestId: "", repeatable: false, validateOnly: false };
    const answer = await certificates.enrol(token.node, { digest, now, keys }, own);
    log.info({ peer, node: token.node, incarnation: answer.incarnation }, "a node was enrolled");
    return { certificates: answer };
  } catch (error) {
    if (error instanceof NotFound) throw unknownToken();
    if (error instanceof Unauthenticated) await tell(parts, found, "used", call);
    throw error;
  }
}

async function tell({ recordEvent, log }: EnrolmentParts, node: Node, fault: keyof typeof EVENTS, call: Call): Promise<void> {
  const { name, uid } = metaOf(node);
  const regarding = ObjectReference.create({ kind: "Node", name, uid });
  const event = Event.create({ regarding, ...EVENTS[fault], type: EventType.WARNING, source: "api-server" });
  const own = { ...call, requestId: "", repeatable: false, validateOnly: false };
  await recordEvent(event, own).catch((error: unknown) => log.warn({ error }, "cannot record that a token was refused"));
}
