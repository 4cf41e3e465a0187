"""Dependency trees and word orders of other languages."""
