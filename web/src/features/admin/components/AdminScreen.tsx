export default function AdminScreen(_: Record<string, unknown>) { return null; }
