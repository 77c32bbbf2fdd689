"""Exact algebra on sympy expressions: functions, normal and float forms, integrals, series."""
