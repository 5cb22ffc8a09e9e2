/**
 * What a caller may be told, one class for each thing that the caller would do differently. The API server's edge turns
 * them into gRPC statuses with google.rpc details; clients turn statuses back into them.
 */

export type Fault = {
  /** Field path from the request's root, such as "virtual_machine.spec.template.spec.domain.memory.guest". */
  path: string;
  /** What was wrong and what is allowed. */
  message: string;
};

export type Precondition = {
  /** Stable word, such as "NOT_RUNNING". */
  type: string;
  /** What it is about, such as "virtualmachines/default/web". */
  subject: string;
  message: string;
};

export type ErrorInfo = { reason: string; metadata?: Record<string, string> };

/** The base of everything that may leave the process as it is; whatever else is thrown becomes INTERNAL with an id. */
export abstract class ApiError extends Error {
  readonly info: ErrorInfo;
  constructor(message: string, info: ErrorInfo, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.info = info;
  }
}

export class InvalidArgument extends ApiError {
  readonly faults: Fault[];
  constructor(faults: Fault[], reason = "INVALID_FIELDS") {
    super(faults.map(({ path, message }) => `${path}: ${message}`).join("; "), { reason });
    this.faults = faults;
  }
}

export class NotFound extends ApiError {
  constructor(resource: string) {
    super(`Cannot find "${resource}"`, { reason: "NOT_FOUND", metadata: { resource } });
  }
}

export class AlreadyExists extends ApiError {
  constructor(message: string, info: ErrorInfo = { reason: "ALREADY_EXISTS" }) {
    super(message, info);
  }
}

export class FailedPrecondition extends ApiError {
  readonly preconditions: Precondition[];
  constructor(preconditions: Precondition[]) {
    super(preconditions.map(({ message }) => message).join("; "), { reason: preconditions[0]?.type ?? "FAILED_PRECONDITION" });
    this.preconditions = preconditions;
  }
}

/** A lost race: read again and decide again. */
export class Aborted extends ApiError {
  constructor(message: string, info: ErrorInfo = { reason: "STALE_RESOURCE_VERSION" }) {
    super(message, info);
  }
}

export class OutOfRange extends ApiError {}

export class PermissionDenied extends ApiError {
  constructor(message: string, info: ErrorInfo = { reason: "PERMISSION_DENIED" }) {
    super(message, info);
  }
}

export class Unauthenticated extends ApiError {
  constructor(message: string, info: ErrorInfo = { reason: "UNAUTHENTICATED" }) {
    super(message, info);
  }
}

export class ResourceExhausted extends ApiError {
  /** When trying again makes sense. */
  readonly retryAfterMs: number;
  constructor(message: string, info: ErrorInfo, retryAfterMs: number) {
    super(message, info);
    this.retryAfterMs = retryAfterMs;
  }
}

export class Unavailable extends ApiError {}

/** The store is damaged: nothing is written until a person has looked. */
export class StoreDamaged extends ApiError {
  constructor(message: string) {
    super(message, { reason: "DATA_LOSS" });
  }
}

/** For branches that the types exclude; reached only when a newer peer sends what this version does not know. */
export function unreachable(value: never): never {
  throw new Error(`Unexpected value ${String(value)}`);
}
