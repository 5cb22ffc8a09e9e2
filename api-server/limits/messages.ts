/** How large a request may be where the listener's bound is far above what the call needs. */
import { ResourceExhausted } from "../../lib/errors.ts";

const KIB = 1024;

type Bound = { bytesMax: number; /** Requests that only the listener bounds. */ except?: (request: unknown) => boolean };

/** A node tells of all that it has and runs in one report; a console sends 32 KiB at a time. */
const BOUNDS: ReadonlyMap<string, Bound> = new Map<string, Bound>([
  ["drover.agent.v1.NodeAgentService/Session", { bytesMax: 256 * KIB }],
  ["drover.agent.v1.NodeAgentService/Renew", { bytesMax: 4 * KIB }],
  ["drover.agent.v1.NodeAgentService/Claim", { bytesMax: 64 * KIB }],
  ["drover.agent.v1.NodeAgentService/Report", { bytesMax: 256 * KIB, except: isNodeReport }],
  ["drover.agent.v1.NodeAgentService/LookupMachine", { bytesMax: 64 * KIB }],
  ["drover.agent.v1.NodeAgentService/Attach", { bytesMax: 64 * KIB }],
  ["drover.agent.v1.NodeAgentService/RenewCertificate", { bytesMax: 64 * KIB }],
]);

function isNodeReport(request: unknown): boolean {
  return (request as { part?: { $case: string } }).part?.$case === "node";
}

type Decode = (input: Uint8Array) => unknown;
type Method = { name: string; requestType: { decode: Decode } };
type Definition = { fullName: string; methods: Record<string, Method> };

/** The same definition; a request that is too large cannot be decoded. */
export function bounded<D extends Definition>(definition: D): D {
  const methods = Object.entries(definition.methods).map(([key, method]): [string, Method] => {
    const bound = BOUNDS.get(`${definition.fullName}/${method.name}`);
    return [key, bound ? { ...method, requestType: { ...method.requestType, decode: boundedDecode(method.requestType.decode, bound) } } : method];
  });
  return { ...definition, methods: Object.fromEntries(methods) as D["methods"] };
}

function boundedDecode(decode: Decode, { bytesMax, except }: Bound): Decode {
  return (input) => {
    const request = input.length <= bytesMax || except ? decode(input) : undefined;
    if (input.length <= bytesMax || except?.(request)) return request;
    throw new ResourceExhausted(`The request must be at most ${bytesMax} bytes: it is ${input.length}`, { reason: "MESSAGE_TOO_LARGE" }, 0);
  };
}
