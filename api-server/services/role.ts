/** Roles. Nobody makes or widens one beyond their own rights, and the built-in ones stay as they are. */
import type {
  CreateRoleRequest, DeleteRoleRequest, GetRoleRequest, ListRolesRequest, Role, UpdateRoleRequest, WatchRolesRequest,
} from "../../gen/drover/v1/role.ts";
import { FailedPrecondition } from "../../lib/errors.ts";
import { BUILT_IN_ROLES } from "../auth/built-in-roles.ts";
import { storeKey } from "../kinds/kind.ts";
import { roles } from "../kinds/table.ts";
import type { Call, WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import { counted, refuseEscalation, type RightsParts } from "./escalation.ts";

export function roleRecords(parts: RightsParts) {
  const records = crud(roles, parts);
  const bounded = (call: Call) => (role: Role) =>
    refuseEscalation(parts.rights, call, { rules: role.spec?.rules ?? [], namespaces: [] });
  const answer = (role: Role, call: Call) => counted(parts.rights, "role", role, call);
  return {
    createRole: async (request: CreateRoleRequest, { call }: WithCall) => {
      if (request.role) bounded(call)(request.role);
      return { role: await answer(await records.create(request.role, call), call) };
    },

    getRole: async (request: GetRoleRequest) => ({ role: await records.get(request) }),

    async listRoles(request: ListRolesRequest, { call }: WithCall) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, roles: items };
    },

    watchRoles: (request: WatchRolesRequest, { call }: WithCall) =>
      records.watch(request, call, (role, reason) => ({ role, reason })),

    updateRole: async (request: UpdateRoleRequest, { call }: WithCall) => {
      refuseBuiltIn(request.role?.metadata?.name ?? "");
      const role = await records.update(request.role, { updateMask: request.updateMask, check: bounded(call) }, call);
      return { role: await answer(role, call) };
    },

    deleteRole: async (request: DeleteRoleRequest, { call }: WithCall) => {
      refuseBuiltIn(request.name);
      return { role: await answer(await records.remove(request, call), call) };
    },
  };
}

function refuseBuiltIn(name: string): void {
  if (!BUILT_IN_ROLES.has(name)) return;
  const subject = storeKey(roles, { name });
  throw new FailedPrecondition([{ type: "BUILT_IN_ROLE", subject, message: `Cannot change "${subject}": it is built in` }]);
}
