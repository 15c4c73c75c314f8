"""Expressions: text in, a typed tree out. No engine is needed to compile one."""

from pipeline_xml.expressions.tree import Binding, Call, ColumnRef, Expression, Literal, Tree

__all__ = ["Binding", "Call", "ColumnRef", "Expression", "Literal", "Tree"]
