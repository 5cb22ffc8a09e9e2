/** libvirt's error codes to what the agent would do about them (pure). */
import { errorCode } from "../constants.ts";
import { HypervisorError } from "../hypervisor.ts";
import type { HypervisorErrorKind } from "../hypervisor.ts";
import type { LibvirtFault } from "./library.ts";

const KINDS = new Map<number, HypervisorErrorKind>([
  [errorCode.NO_DOMAIN, "no-domain"],
  [errorCode.DOM_EXIST, "already-exists"],
  [errorCode.OPERATION_INVALID, "invalid-state"],
  [errorCode.NO_SUPPORT, "unsupported"],
  [errorCode.ARGUMENT_UNSUPPORTED, "unsupported"],
  [errorCode.OPERATION_UNSUPPORTED, "unsupported"],
  [errorCode.CONFIG_UNSUPPORTED, "unsupported"],
  [errorCode.XML_ERROR, "invalid-xml"],
  [errorCode.XML_DETAIL, "invalid-xml"],
  [errorCode.XML_INVALID_SCHEMA, "invalid-xml"],
  [errorCode.NO_NAME, "invalid-xml"],
  [errorCode.NO_OS, "invalid-xml"],
  [errorCode.OS_TYPE, "invalid-xml"],
  [errorCode.OPERATION_DENIED, "denied"],
  [errorCode.ACCESS_DENIED, "denied"],
  [errorCode.AUTH_FAILED, "denied"],
]);

/**
 * A lost daemon shows as several codes and texts. Whether the connection still lives is the one sure sign, so it
 * decides before the code does.
 */
export function toHypervisorError(fault: LibvirtFault | undefined, alive: boolean): HypervisorError {
  const { code, message } = fault ?? { code: 0, message: "libvirt gave no reason" };
  return new HypervisorError(alive ? (KINDS.get(code) ?? "failed") : "connection-lost", message, code);
}
