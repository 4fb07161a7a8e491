"""zoomgap: when is an agent that zooms still needed, and when does a distilled model do the job in one glance?"""

__version__ = "0.1.0"
