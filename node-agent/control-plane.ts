/** The port to the API server that the agent's parts see, and its gRPC adapter: definite refusals apart from everything else. */
import { ClientError, Status } from "nice-grpc";
import { RichClientError } from "nice-grpc-error-details";
import { NodeAgentServiceDefinition } from "../gen/drover/agent/v1/agent.ts";
import type {
  ClaimRequest, LookupMachineRequest, LookupMachineResponse, ReportRequest,
} from "../gen/drover/agent/v1/agent.ts";
import type { VirtualMachineInstance } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { Connection } from "../lib/client.ts";
import type { Clock } from "../lib/clock.ts";
import { deadline } from "../lib/clock.ts";
import type { Backoff } from "../lib/backoff.ts";

/** The control plane has looked at the request and said no. Repeating it is of no use until the record changes. */
export class Refused extends Error {
  override name = "Refused";
  /** Stable word, such as "STALE_EPOCH". */
  readonly reason: string;
  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Throws Refused, or something else when nobody knows whether it was heard. */
export interface ControlPlane {
  claim(request: ClaimRequest): Promise<VirtualMachineInstance>;
  report(request: ReportRequest): Promise<void>;
  lookUp(request: LookupMachineRequest): Promise<LookupMachineResponse>;
}

const CALL_TIMEOUT_MS = 10_000;

const DEFINITE: ReadonlySet<Status> = new Set([
  Status.FAILED_PRECONDITION, Status.NOT_FOUND, Status.INVALID_ARGUMENT, Status.PERMISSION_DENIED, Status.OUT_OF_RANGE, Status.UNIMPLEMENTED,
]);

export function grpcControlPlane(connection: Connection, clock: Clock): ControlPlane {
  const client = () => connection.client(NodeAgentServiceDefinition);
  const call = async <T>(run: (options: { signal: AbortSignal }) => Promise<T>): Promise<T> => {
    using limit = deadline(clock, CALL_TIMEOUT_MS);
    try {
      return await run({ signal: limit.signal });
    } catch (error) {
      throw refusal(error) ?? error;
    }
  };
  return {
    async claim(request) {
      const { instance } = await call((options) => client().claim(request, options));
      if (!instance) throw new Error("The answer to a claim carries no instance");
      return instance;
    },
    report: async (request) => void (await call((options) => client().report(request, options))),
    lookUp: (request) => call((options) => client().lookupMachine(request, options)),
  };
}

/** What a node that was put out does until it is let in again. */
export const REVOKED: Backoff = { firstMs: 60_000, maxMs: 60_000, factor: 1 };

/** Whether the server no longer takes the node's identity: machines go on, and nobody is asked often. */
export function isRevoked(error: unknown): boolean {
  return error instanceof ClientError && error.code === Status.UNAUTHENTICATED && reasonOf(error) === "NODE_REVOKED";
}

/** The definite refusal in a failed call; undefined when it may go through another time. */
export function refusal(error: unknown): Refused | undefined {
  if (!(error instanceof ClientError) || !DEFINITE.has(error.code)) return undefined;
  return new Refused(reasonOf(error), error.details, { cause: error });
}

export function reasonOf(error: ClientError): string {
  const info = error instanceof RichClientError ? error.extra.find((detail) => detail.$type === "google.rpc.ErrorInfo") : undefined;
  return info && "reason" in info && typeof info.reason === "string" ? info.reason : Status[error.code];
}
